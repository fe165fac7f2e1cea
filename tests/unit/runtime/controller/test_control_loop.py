"""A controller's arguments, and its thread: it looks, survives, and ends."""

import math
import threading
import time

import pytest

from legodnn.runtime import Budget, Controller
from legodnn.shared.errors import UsageError
from tests.unit.runtime.controlled import MIDDLE, SMALL, Bench


@pytest.mark.parametrize("wrong", [
    {"interval": 0}, {"dwell": -1}, {"hysteresis": math.nan}, {"patience": 0}, {"tolerance": 0}, {"forget": -1},
])  # fmt: skip
def test_numbers_that_cannot_be_are_refused(wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Bench(**wrong)


def looks(given, count):
    """Wait until the source has been read so many times more."""
    target = given.reads + count
    while given.reads < target:
        time.sleep(0.001)


def controller_threads():
    return [t for t in threading.enumerate() if t.name == "legodnn-controller"]


def test_the_first_choice_runs_when_it_has_started_and_the_thread_ends():
    bench = Bench(budget=Budget(0.006), interval=0.001)
    with bench.controller:
        assert bench.selection == MIDDLE
        assert bench.given.running
        looks(bench.given, 3)
        bench.given.budget = Budget(0.003)
        looks(bench.given, 3)
        assert bench.selection == SMALL
        with pytest.raises(UsageError, match="runs already"):
            bench.controller.start()
        assert len(controller_threads()) == 1
    assert controller_threads() == []
    assert not bench.given.running
    bench.controller.stop()
    reads = bench.given.reads
    with bench.controller:
        assert bench.given.reads > reads


def test_after_each_look_one_variant_is_loaded_ahead():
    bench = Bench(budget=Budget(0.006), interval=0.001)
    bench.network.unloaded = 5
    bench.controller._guarded_step()
    assert bench.network.unloaded == 4
    with bench.controller:
        looks(bench.given, 6)
    assert bench.network.unloaded == 0


def test_an_interrupted_start_leaves_nothing_behind(monkeypatch):
    bench = Bench(budget=Budget(None, 9_000))

    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(bench.controller, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        bench.controller.start()
    assert controller_threads() == []
    assert not bench.given.running
    monkeypatch.undo()
    with bench.controller:
        assert bench.network.keep_within == 9_000
    assert bench.network.keep_within == 1e9


def test_it_may_be_stopped_from_an_event():
    bench = Bench(interval=0.001)
    stopped = threading.Event()
    controller = Controller(
        bench.optimizer, bench.given, interval=0.001,
        on_event=lambda event: event.reason == "tighter" and (controller.stop(), stopped.set()),
    )  # fmt: skip
    controller.start()
    bench.given.budget = Budget(0.003)
    stopped.wait()
    for thread in controller_threads():
        thread.join()
    assert not bench.given.running


def test_a_defect_does_not_end_the_thread(caplog, monkeypatch):
    bench = Bench(interval=0.001)
    with bench.controller:
        monkeypatch.setattr(bench.network, "recent_seconds", lambda: 1 / 0, raising=False)
        looks(bench.given, 3)
        monkeypatch.undo()
        bench.given.budget = Budget(0.003)
        looks(bench.given, 3)
        assert bench.selection == SMALL
    assert "ZeroDivisionError" in caplog.text
