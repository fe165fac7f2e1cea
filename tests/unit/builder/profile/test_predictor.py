"""The curve from costs to accuracy, and the selections it is fitted on."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from legodnn.builder.profile.frontier import frontier
from legodnn.builder.profile.predictor import fit_predictor


def test_a_curve_of_the_family_is_found_again():
    points = [(c, 0.02 * math.sqrt(c) + 0.3 * c) for c in (0.001, 0.005, 0.01, 0.03, 0.06, 0.1)]
    predictor = fit_predictor(0.9, points)
    assert predictor.worst_error < 1e-6
    assert all(abs(predictor.accuracy(c) - (0.9 - loss)) < 1e-3 for c, loss in points)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(-0.05, 0.5)), min_size=0, max_size=8))
def test_the_curve_never_falls_and_starts_at_nothing_lost(points):
    predictor = fit_predictor(0.9, points)
    assert predictor.curve[0][1] == 0
    assert all(a[1] <= b[1] for a, b in zip(predictor.curve, predictor.curve[1:], strict=False))
    assert predictor.accuracy(0.0) == 0.9


def test_held_out_errors_show_an_outlier():
    points = [(c / 100, c / 100) for c in range(1, 8)]
    assert fit_predictor(0.9, points).worst_error < 1e-6
    assert fit_predictor(0.9, [*points, (0.04, 0.3)]).worst_error > 0.2


COSTS = {"a": {"original": 0.0, "s": 0.2, "t": 0.9}, "b": {"original": 0.0, "s": 0.1, "t": 0.15}}
SIZES = {"a": {"original": 100.0, "s": 60.0, "t": 20.0}, "b": {"original": 50.0, "s": 30.0, "t": 10.0}}


def test_the_frontier_starts_at_the_smallest_and_no_selection_on_it_is_beaten():
    selections = frontier(COSTS, SIZES, 6)
    assert selections[0] == {"a": "t", "b": "t"}
    everything = [{"a": a, "b": b} for a in COSTS["a"] for b in COSTS["b"]]

    def value(table, selection):
        return sum(table[block][variant] for block, variant in selection.items())

    for found in selections:
        no_larger = [s for s in everything if value(SIZES, s) <= value(SIZES, found)]
        assert min(value(COSTS, s) for s in no_larger) == value(COSTS, found)


@pytest.mark.parametrize("count", [1, 3, 20])
def test_the_frontier_names_no_selection_twice(count):
    selections = frontier(COSTS, SIZES, count)
    assert len(selections) == len({tuple(s.items()) for s in selections}) <= count


def test_costs_next_to_nothing_break_nothing():
    predictor = fit_predictor(0.9, [(0.5, 0.5), (5e-324, 0.5)])
    assert all(math.isfinite(value) for point in predictor.curve for value in point)
