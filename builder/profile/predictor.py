"""From the distortions of variants to the accuracy of a whole selection.

The accuracy lost by one variant alone is too small to measure well on a few thousand images, and losses do not add up.
What nearly adds up is the distance that the network's output moves. So a variant's *distortion* is the squared distance
of the output from the teacher's, relative to the output's variance, and a curve fitted on measured compositions turns a
sum of distortions into an accuracy loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt

from legodnn.shared.bundle.manifest import Predictor

_POWERS = (0.5, 1.0, 2.0)
"""The exponents of the curve's terms. Not tuned: one concave, one straight, one convex."""

_KNOTS = 33
"""Points of the curve in a bundle, which devices interpolate between. Not tuned."""


def fit_predictor(teacher_accuracy: float, measured: Sequence[tuple[float, float]]) -> Predictor:
    """Fit the curve to measured compositions, given as (sum of distortions, accuracy lost).

    The curve is a sum of powers with non-negative weights, hence never falls. Its errors are those of leave-one-out
    cross-validation.
    """
    points = np.array(sorted(measured), dtype=np.float64).reshape(-1, 2)
    left_out = range(len(points)) if len(points) > 1 else range(0)
    errors = [abs(_curve(np.delete(points, i, 0), points[i, :1])[0] - points[i, 1]) for i in left_out]
    highest = float(points[:, 0].max()) if len(points) else 1.0
    distortions = highest * np.linspace(0, 1, _KNOTS) ** 2
    return Predictor(
        teacher_accuracy=teacher_accuracy,
        curve=tuple(zip(distortions.tolist(), _curve(points, distortions).tolist(), strict=True)),
        mean_error=float(np.mean(errors)) if errors else 0.0,
        worst_error=float(np.max(errors)) if errors else 0.0,
        compositions=len(points),
    )


def _curve(points: npt.NDArray[np.float64], distortions: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The fitted curve at ``distortions``: the best non-negative least squares over all subsets of the powers."""
    best, best_error = np.zeros(len(_POWERS)), float(np.square(points[:, 1]).sum())
    basis = points[:, :1] ** np.array(_POWERS)
    for count in range(1, len(_POWERS) + 1):
        for subset in combinations(range(len(_POWERS)), count):
            # Distortions near 0 give coefficients that overflow.
            with np.errstate(over="ignore", invalid="ignore"):
                solved, *_ = np.linalg.lstsq(basis[:, subset], points[:, 1], rcond=None)
                error = float(np.square(basis[:, subset] @ solved - points[:, 1]).sum())
            if np.isfinite(solved).all() and (solved >= 0).all() and error < best_error - 1e-15:
                best, best_error = np.zeros(len(_POWERS)), error
                best[list(subset)] = solved
    values: npt.NDArray[np.float64] = distortions[:, None] ** np.array(_POWERS) @ best
    return values
