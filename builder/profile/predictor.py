"""From the distortions of variants to the accuracy of a whole selection.

The accuracy lost by one variant alone is too small to measure well on a few thousand images, and losses do not add up.
What nearly adds up is the distance that the network's output moves. So a variant's *distortion* is the squared distance
of the output from the teacher's, relative to the output's variance, and a curve fitted on measured compositions turns a
sum of distortions into an accuracy loss. The curve levels off at what can be lost, the teacher's accuracy less the
chance level.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt

from legodnn.shared.bundle.manifest import Predictor
from legodnn.shared.errors import UsageError

Numbers = npt.NDArray[np.float64]

Curve = Callable[[Numbers], Numbers]
"""From distortions to the accuracy lost."""

_POWERS = np.array([0.5, 1.0, 2.0])
"""The exponents of the curve's terms. Not tuned: one concave, one straight, one convex."""

_KNOTS = 33
"""Points of the curve in a bundle, up to the largest distortion measured or to where the curve is level; devices
interpolate between. Not tuned."""

_LEVEL = 1e-3
"""The share of what can be lost by which a curve that is called level may still rise. Not tuned."""

_HUGE = 1e12
"""Distortions above this count as this much, so that their powers are numbers. At 1 the output is as far from the
teacher's as a constant's: everything is lost long before."""

_STEPS = 8
"""Gauss-Newton steps at most: on 12 tables of ResNet-18 on Fashion-MNIST the error is at its least after 2 to 7."""

_FAR = 1e100
"""The largest distortion at which a curve becomes level; any number far from the largest there is."""

_BARELY = 0.99
"""Losses above this share of what can be lost are counted as this share at first: the logarithm of what is left has no
limit. Not tuned."""


def fit_predictor(teacher_accuracy: float, measured: Sequence[tuple[float, float]], chance: float = 0.0) -> Predictor:
    """Fit the curve to measured compositions, given as (sum of distortions, accuracy lost).

    The curve never falls, and never rises above what can be lost: the teacher's accuracy less ``chance``, the accuracy
    of the best output that ignores the input, or more where more was measured. Its errors are those of leave-one-out
    cross-validation. Raises `UsageError` for numbers that are not finite.
    """
    points = np.array(sorted(measured), dtype=np.float64).reshape(-1, 2)
    if not (np.isfinite(points).all() and math.isfinite(teacher_accuracy) and math.isfinite(chance)):
        raise UsageError("a predictor is fitted to finite numbers; leave out compositions that overflow")
    points[:, 0] = np.minimum(points[:, 0], _HUGE)
    most = _losable(teacher_accuracy, chance, points)
    curve = _fitted(points, most)
    errors = []
    for i in range(len(points)) if len(points) > 1 else ():
        others = np.delete(points, i, 0)
        predicted = _fitted(others, _losable(teacher_accuracy, chance, others))(points[i, :1])[0]
        errors.append(abs(predicted - points[i, 1]))
    return Predictor(
        teacher_accuracy=teacher_accuracy,
        curve=_knots(curve, float(points[:, 0].max()) if len(points) else 1.0, most),
        mean_error=float(np.mean(errors)) if errors else 0.0,
        worst_error=float(np.max(errors)) if errors else 0.0,
        compositions=len(points),
    )


def _losable(teacher_accuracy: float, chance: float, points: Numbers) -> float:
    """How much accuracy can be lost: down to chance, or as far as was measured, and never below zero."""
    measured = float(points[:, 1].max()) if len(points) else 0.0
    return max(0.0, min(teacher_accuracy, max(teacher_accuracy - chance, measured)))


def _fitted(points: Numbers, most: float) -> Curve:
    """The better of two curves that end at ``most``: a sum of powers cut off there, and one that approaches it."""
    if most <= 0:
        return np.zeros_like
    basis = _basis(points[:, 0])
    found: list[Curve] = [_cut_off(_non_negative(basis, points[:, 1]), most)]
    found.append(_approaching(_approach(basis, points[:, 1], most), most))
    return min(found, key=lambda curve: _squares(curve(points[:, 0]) - points[:, 1]))  # of equal ones the first


def _basis(distortions: Numbers) -> Numbers:
    powers: Numbers = distortions[:, None] ** _POWERS
    return powers


def _sum(basis: Numbers, weights: Numbers) -> Numbers:
    """The weighted sum of powers; weights of distortions near 0 can be so large that it overflows."""
    with np.errstate(over="ignore", invalid="ignore"):
        total: Numbers = np.nan_to_num(basis @ weights, nan=np.inf)
    return total


def _cut_off(weights: Numbers, most: float) -> Curve:
    return lambda distortions: np.minimum(_sum(_basis(distortions), weights), most)


def _approaching(weights: Numbers, most: float) -> Curve:
    return lambda distortions: -most * np.expm1(-_sum(_basis(distortions), weights))


def _approach(basis: Numbers, losses: Numbers, most: float) -> Numbers:
    """The weights of the approaching curve with the least squared error, by Gauss-Newton: a point weighs as much as the
    curve rises there, so that those where everything is lost do not bend it."""
    share = np.clip(losses / most, None, 1.0)
    weights = _non_negative(basis, -np.log1p(-np.minimum(share, _BARELY)), 1 - share)
    best, best_error = weights, math.inf
    for _ in range(_STEPS):
        total = _sum(basis, weights)
        missed = losses + most * np.expm1(-total)
        error = _squares(missed)
        if error >= best_error - 1e-15:
            break
        best, best_error = weights, error
        slope = most * np.exp(-total)
        steep = slope > 1e-9 * most
        weights = _non_negative(basis[steep], total[steep] + missed[steep] / slope[steep], slope[steep])
    return best


def _non_negative(basis: Numbers, wanted: Numbers, importance: Numbers | None = None) -> Numbers:
    """The best non-negative least squares over all subsets of the powers; rows of no importance are left out."""
    if importance is not None:
        rows = importance > 0
        basis, wanted = basis[rows] * importance[rows, None], wanted[rows] * importance[rows]
    best, best_error = np.zeros(len(_POWERS)), _squares(wanted)
    for count in range(1, len(_POWERS) + 1):
        for subset in combinations(range(len(_POWERS)), count):
            # Distortions near 0 give coefficients that overflow.
            with np.errstate(over="ignore", invalid="ignore"):
                solved, *_ = np.linalg.lstsq(basis[:, subset], wanted, rcond=None)
                error = _squares(basis[:, subset] @ solved - wanted)
            if np.isfinite(solved).all() and (solved >= 0).all() and error < best_error - 1e-15:
                best, best_error = np.zeros(len(_POWERS)), error
                best[list(subset)] = solved
    return best


def _squares(values: Numbers) -> float:
    return float(np.square(values).sum())


def _knots(curve: Curve, highest: float, most: float) -> tuple[tuple[float, float], ...]:
    """The curve as points, close together where it rises, and level behind the last."""
    reach = _reach(curve, highest, most)
    distortions = reach * np.linspace(0, 1, _KNOTS) ** 2
    if reach < highest:
        distortions = np.append(distortions, highest)
    losses = np.maximum.accumulate(np.minimum(curve(distortions), most))
    knots = list(zip(distortions.tolist(), losses.tolist(), strict=True))
    (x0, y0), (x1, y1) = knots[-2:]
    if y1 > y0 and x1 > x0:  # devices go on along the last line
        end = min(x1 + (most - y1) * (x1 - x0) / (y1 - y0), _FAR)
        knots += [(end, most), (2 * end, most)]
    return tuple(knots)


def _reach(curve: Curve, highest: float, most: float) -> float:
    """The distortion behind which the curve is level, at most the largest measured."""
    level = (1 - _LEVEL) * most
    if most <= 0 or float(curve(np.array([highest]))[0]) < level:
        return highest
    low, high = 0.0, highest
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (low, middle) if float(curve(np.array([middle]))[0]) >= level else (middle, high)
    return high
