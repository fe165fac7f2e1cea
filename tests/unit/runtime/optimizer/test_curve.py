"""The predictor's curve turned around, against the predictor itself."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from legodnn.runtime.optimizer.curve import most_cost
from legodnn.shared.bundle.manifest import Predictor

STEPS = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=8)


def predictor(steps, teacher):
    x = y = 0.0
    knots = []
    for dx, dy in steps:
        x, y = x + dx / 64, y + dy / 64
        knots.append((x, y))
    return Predictor(teacher, tuple(knots), 0.0, 0.0, 1)


@given(STEPS, st.integers(1, 64).map(lambda n: n / 64), st.integers(1, 64).map(lambda n: n / 64))
def test_a_required_accuracy_is_a_bound_on_the_sum_of_costs(steps, teacher, accuracy):
    curve = predictor(steps, teacher)
    bound = most_cost(curve, accuracy)
    for step in range(400):
        cost = step / 128
        predicted = curve.accuracy(cost)
        if bound is None or cost <= bound:
            assert predicted >= accuracy - 1e-9
        else:
            assert predicted < accuracy


def test_no_accuracy_is_no_bound():
    assert most_cost(Predictor(0.9, ((0.0, 0.0), (1.0, 0.1)), 0, 0, 1), 0.0) is None


def test_the_bound_goes_on_beyond_the_last_knot():
    bound = most_cost(Predictor(0.75, ((0.0, 0.0), (1.0, 0.25)), 0, 0, 1), 0.25)
    assert abs(bound - 2) < Fraction(1, 10**10)


def test_behind_a_step_at_the_end_its_upper_loss_holds():
    curve = Predictor(0.75, ((0.0, 0.0), (0.0, 0.25)), 0, 0, 1)
    assert [curve.accuracy(cost) for cost in (0.0, 0.5)] == [0.75, 0.5]
    assert abs(most_cost(curve, 0.6)) < Fraction(1, 10**10)
