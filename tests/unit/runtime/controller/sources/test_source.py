"""Several sources are one; those that fail count with what they said last."""

import pytest

from legodnn.runtime import Budget, Fixed, Source, Tightest
from legodnn.shared.errors import UsageError
from tests.unit.runtime.controlled import Given


def test_the_tightest_of_several_wins():
    given = Given(Budget(0.02, 100, slowdown=2))
    both = Tightest(Fixed(Budget(0.01)), given, Fixed(Budget(None, 200, slowdown=3)))
    assert both.read() == Budget(0.01, 100, 3)
    both.start()
    assert given.running
    both.stop()
    assert not given.running
    assert Tightest().read() == Budget()


def test_a_source_that_raises_counts_with_what_it_said_last():
    given = Given(Budget(0.02))
    both = Tightest(Fixed(Budget(0.05)), given)
    assert (both.read().seconds, both.trouble) == (0.02, None)
    given.budget = RuntimeError("lost")
    assert (both.read().seconds, both.trouble) == (0.02, "Given raised RuntimeError: lost")
    given.budget = Budget(0.03)
    assert (both.read().seconds, both.trouble) == (0.03, None)


def test_sources_that_were_started_are_stopped_where_one_cannot_be():
    class Refuses(Source):
        def start(self):
            raise UsageError("no")

    given = Given()
    with pytest.raises(UsageError, match="no"):
        Tightest(given, Refuses()).start()
    assert not given.running
