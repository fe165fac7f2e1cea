"""Predictions that are corrected by what is measured."""

import pytest

from legodnn.runtime.controller.drift import Drift, most


def looks(drift, seconds, slowdown=1.0, times=1, start=0.0):
    """Looks at inferences of one second by prediction, all of them new; whether any of them changed the scale."""
    return any([
        drift.look(start + i, [s + 1e-9 * i for s in [seconds] * 10], 1.0, slowdown) for i in range(times)
    ])  # fmt: skip


def test_slow_inferences_are_believed_after_some_looks_fast_ones_after_more():
    drift = Drift(0.2, 3, 60.0, relief=6)
    assert not looks(drift, 1.5, times=2)
    assert looks(drift, 1.5)
    assert drift.scale(1.0) == pytest.approx(1.5)
    assert not looks(drift, 0.9, times=5)
    assert looks(drift, 1.0)
    assert drift.scale(1.0) == pytest.approx(1.0)  # the slowest of the six


def test_looks_that_contradict_each_other_are_not_believed():
    drift = Drift(0.2, 3, 60.0)
    for _ in range(5):
        assert not looks(drift, 1.5, times=2)
        assert not looks(drift, 0.5, times=2)
    assert drift.scale(1.0) == 1


def test_an_overestimated_slowdown_does_not_make_a_device_fast():
    drift = Drift(0.2, 3, 60.0)
    assert looks(drift, 1.2, slowdown=2.0, times=3)
    assert drift.scale(2.0) == pytest.approx(0.6)
    assert drift.scale(1.0) == 1.0
    assert drift.scale(1.5) * 1.5 == pytest.approx(1.0)
    assert drift.scale(2.5) == 1.0  # it may be slowed down in full this time


def test_a_device_faster_than_it_was_measured_is_known_to_be():
    drift = Drift(0.2, 3, 60.0)
    assert looks(drift, 0.5, times=3)
    assert drift.scale(1.0) == pytest.approx(0.5)


def test_each_slowdown_has_a_scale_of_its_own_that_is_remembered():
    drift = Drift(0.2, 3, 60.0)
    assert looks(drift, 1.5, times=3)
    assert looks(drift, 2.0, slowdown=2.0, times=3)
    assert drift.scale(2.0) == pytest.approx(1.0)
    assert drift.scale(1.0) == pytest.approx(1.5)
    assert looks(drift, 1.0, times=3)
    assert drift.scale(1.05) == pytest.approx(1.0)
    assert drift.scale(2.0) == pytest.approx(1.0)


def spread(usual, longest):
    return [usual] * 18 + [longest] * 2


def test_what_is_late_now_and_then_is_not_later_on_a_slower_device():
    drift = Drift(0.2, 1, 60.0, most, 20)
    assert drift.look(0.0, spread(1.1, 1.5), 1.0, 1.0)
    assert drift.scale(1.0) == pytest.approx(1.5)
    assert drift.scale(2.0) == pytest.approx(1.1 + 0.4 / 2)


def test_what_is_late_now_and_then_on_a_slower_device_may_be_so_on_a_fast_one():
    drift = Drift(0.2, 1, 60.0, most, 20)
    assert drift.look(0.0, spread(1.6, 2.6), 1.0, 2.0)
    assert drift.scale(2.0) == pytest.approx(1.3)
    assert drift.scale(1.0) == pytest.approx(1.0 + 0.5)


def test_without_inferences_what_was_found_is_forgotten_by_halves():
    drift = Drift(0.3, 3, 60.0)
    assert looks(drift, 1.4, times=3)
    scales = []
    for times in range(1, 4):
        drift.look(times * 100.0, [], 1.0, 1.0)
        scales.append(drift.scale(1.0))
    assert scales == pytest.approx([1.2, 1.0, 1.0], abs=1e-6)


def test_what_was_seen_is_outdated_once_the_slowdown_is_another():
    drift = Drift(0.2, 3, 60.0)
    assert not drift.outdated(1.0)  # nothing was seen before
    assert not drift.outdated(1.05)
    assert drift.outdated(1.5)
    assert not drift.outdated(1.5)
    assert drift.outdated(1.0)


def test_caution_holds_until_something_else_is_found():
    drift = Drift(0.1, 2, 60.0, caution=1.5)
    assert drift.scale(1.0) == 1.5
    assert drift.scale(2.0) == 1.25  # what is there beyond the prediction is not multiplied by a slowdown
    assert drift.scale(1.0, cautious=False) == 1.0
    assert not drift.look(0.0, [1.0] * 9, 1.0, 1.0)
    assert drift.look(1.0, [1.01] * 9, 1.0, 1.0)
    assert drift.scale(1.0) == drift.scale(1.0, cautious=False) == pytest.approx(1.01)


def test_most_is_what_nineteen_of_twenty_stay_within():
    assert most([float(i) for i in range(1, 21)]) == 19
    assert most([2.0]) == 2
