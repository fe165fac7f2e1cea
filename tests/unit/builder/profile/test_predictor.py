"""The curve from distortions to accuracy."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from legodnn.builder.profile.frontier import frontier
from legodnn.builder.profile.predictor import fit_predictor
from legodnn.shared.errors import UsageError


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


# ---- where everything is lost ---------------------------------------------------------------------------------------
FEW = [(0.05, 0.02), (0.1, 0.05), (0.2, 0.1), (8.0, 1.0), (30.0, 1.0)]

# ResNet-18 on Fashion-MNIST, pruned and not distilled; the teacher's accuracy is 0.912, the chance level 0.13.
# fmt: off
PRUNED = [(2.5508, 0.818), (1.7184, 0.818), (1.4634, 0.818), (0.9817, 0.7), (0.7687, 0.646), (0.58, 0.54),
          (0.5165, 0.514), (0.3804, 0.35), (0.2466, 0.178), (0.1733, 0.09), (0.0881, 0.024), (0.0259, 0.01)]
RECONSTRUCTED = [(1.2275, 0.596), (0.5264, 0.3), (0.3381, 0.174), (0.2549, 0.122), (0.1743, 0.074), (0.0855, 0.016),
                 (0.0542, 0.01), (0.024, 0.004), (0.015, 0.004), (0.0067, 0.0), (0.004, 0.004), (0.0015, 0.0)]
# fmt: on


def test_the_curve_levels_off_where_everything_is_lost():
    predictor = fit_predictor(1.0, FEW)
    assert predictor.curve[-1][1] == 1.0
    assert predictor.accuracy(0.15) == pytest.approx(0.925, abs=0.01)
    assert [predictor.accuracy(d) for d in (8.0, 30.0, 1e9)] == pytest.approx([0.0, 0.0, 0.0], abs=2e-3)
    assert predictor.mean_error < 0.02
    assert predictor.worst_error < 0.06


@pytest.mark.parametrize(("points", "before"), [(PRUNED, 0.123), (RECONSTRUCTED, 0.053)])
def test_it_predicts_what_was_left_out_better_than_a_sum_of_powers(points, before):
    predictor = fit_predictor(0.912, points, 0.13)
    assert predictor.mean_error < before / 3
    assert predictor.worst_error < 0.1


@given(st.lists(st.tuples(st.floats(0, 1e300), st.floats(0, 0.9)), max_size=8), st.sampled_from([0.0, 0.1, 0.9]))
def test_no_more_is_predicted_to_be_lost_than_can_be(points, chance):
    predictor = fit_predictor(0.9, points, chance)
    most = max([0.9 - chance, *(lost for _, lost in points)])
    assert max(loss for _, loss in predictor.curve) <= most
    assert predictor.worst_error <= most
    assert all(math.isfinite(value) for point in predictor.curve for value in point)
    for distortion in (1.0, 1e13, 1e301):
        assert predictor.accuracy(distortion) >= 0.9 - most - 1e-9


def test_the_curve_is_refined_until_it_is_no_better():
    """After a single Gauss-Newton step the squared errors of these points sum to 0.0089, at the least to 0.0079."""
    predictor = fit_predictor(0.912, PRUNED, 0.13)
    assert sum((0.912 - predictor.accuracy(d) - lost) ** 2 for d, lost in PRUNED) < 0.0084


def test_one_composition_far_out_takes_no_points_from_where_the_curve_rises():
    predictor = fit_predictor(1.0, [*FEW, (1e6, 1.0)])
    for distortion, lost in FEW:
        assert predictor.accuracy(distortion) == pytest.approx(1 - lost, abs=0.02)
    assert predictor.curve[-1][1] == 1.0
    assert 1e6 in [x for x, _ in predictor.curve]
    assert sum(x < 30 for x, _ in predictor.curve) > 30


def test_points_are_closer_together_where_less_is_lost():
    places = [x for x, _ in fit_predictor(0.9, [(0.1, 0.01), (0.2, 0.02), (0.4, 0.04)], 0.1).curve]
    assert places[:33] == pytest.approx([0.4 * (i / 32) ** 2 for i in range(33)])


def test_beyond_all_that_was_measured_the_curve_still_rises_but_not_below_chance():
    predictor = fit_predictor(0.9, [(0.1, 0.01), (0.2, 0.02), (0.4, 0.04)], 0.1)
    assert predictor.accuracy(0.8) == pytest.approx(0.82, abs=1e-3)
    assert predictor.accuracy(1e6) == pytest.approx(0.1)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_refused(number):
    for point in ((number, 0.1), (0.1, number)):
        with pytest.raises(UsageError, match="finite"):
            fit_predictor(0.9, [(0.2, 0.1), point])
        with pytest.raises(UsageError, match="a t: a distortion or a size"):
            frontier({"a": {"original": 0.0, "t": point[0]}}, {"a": {"original": 2.0, "t": point[1]}}, 3)


def test_costs_next_to_nothing_break_nothing():
    predictor = fit_predictor(0.9, [(0.5, 0.5), (5e-324, 0.5)])
    assert all(math.isfinite(value) for point in predictor.curve for value in point)
