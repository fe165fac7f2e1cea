"""The inverse of the predictor's curve.

Accuracy never rises with the sum of costs, so a required accuracy is an upper bound on that sum.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Optional

from legodnn.shared.bundle.manifest import Predictor

_ROUNDING = Fraction(1, 10**12)


def most_cost(predictor: Predictor, accuracy: float) -> Optional[Fraction]:
    """The largest sum of costs with at least this accuracy; None for no bound, negative where nothing reaches it.

    Computed exactly for an accuracy lower by 1e-12, so that rounding excludes no selection whose prediction suffices;
    answers are then checked by their own predictions.
    """
    if accuracy <= 0:
        return None
    loss = Fraction(predictor.teacher_accuracy) - Fraction(accuracy) + _ROUNDING
    return _last_cost(predictor, loss)


def _last_cost(predictor: Predictor, loss: Fraction) -> Optional[Fraction]:
    """The largest sum of costs with a loss of at most ``loss``; None for no bound, -1 for none."""
    knots = [(Fraction(x), Fraction(y)) for x, y in predictor.curve]
    within = sum(y <= loss for _, y in knots)
    if len(knots) == 1:
        return None if within else Fraction(-1)
    left = min(max(0, within - 1), len(knots) - 2)
    (x0, y0), (x1, y1) = knots[left], knots[left + 1]
    if 0 < within < len(knots) or (x0 != x1 and y0 != y1):
        return x0 + (loss - y0) * (x1 - x0) / (y1 - y0)
    return None if within else Fraction(-1)  # the curve is constant beyond its ends
