"""Budgets are compared in every dimension."""

import pytest

from legodnn.runtime import Budget
from legodnn.runtime.controller.budget import Limits
from legodnn.shared.errors import UsageError


@pytest.mark.parametrize("wrong", [{"seconds": 0}, {"memory_bytes": -1}, {"slowdown": 0}, {"seconds": float("nan")}])
def test_budgets_are_positive_numbers(wrong):
    with pytest.raises(UsageError):
        Budget(**wrong)


def test_a_slower_device_has_less_time_for_what_was_predicted():
    assert Budget(0.06, 100, slowdown=2).limits(scale=3) == Limits(0.01, 100)
    assert Budget(None, 100, slowdown=2).limits(scale=3) == Limits(None, 100)


def test_limits_are_compared_in_both_dimensions():
    assert Limits(1, 5).met_by(1, 5)
    assert not Limits(1, 5).met_by(1.1, 5)
    assert not Limits(1, 5).met_by(1, 6)
    assert not Limits(1, None).met_by(None, 6)
    assert Limits(None, None).met_by(None, 6)
    assert Limits(1, 5).within(Limits(None, 5))
    assert not Limits(None, 5).within(Limits(1, 5))
    assert Limits(1.5, 3).with_reserve(0.5) == Limits(1, 2)
