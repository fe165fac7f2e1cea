"""How far a block's answer is from the original's."""

from __future__ import annotations

import torch
from torch import Tensor


def squared_distance(answer: Tensor, wanted: Tensor) -> float:
    """The sum of squared errors, in double precision."""
    return float((answer.double() - wanted.double()).square().sum())


def squared_deviation(wanted: Tensor) -> float:
    """The sum of squared distances from the mean, in double precision: what `squared_distance` is relative to where
    batches are added up."""
    exact = wanted.double()
    return float((exact - exact.mean()).square().sum())


def relative_error(answer: Tensor, wanted: Tensor) -> Tensor:
    """Squared error over the variance of what was wanted: 0 is perfect, 1 is no better than a constant."""
    return (answer - wanted).square().mean() / wanted.var(correction=0).clamp_min(torch.finfo(wanted.dtype).tiny)
