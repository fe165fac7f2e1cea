"""The error of a block's output against the original's."""

from __future__ import annotations

import torch
from torch import Tensor


def squared_distance(answer: Tensor, wanted: Tensor) -> float:
    """The sum of squared errors, in double precision."""
    return float((answer.double() - wanted.double()).square().sum())


def squared_deviation(wanted: Tensor) -> float:
    """The sum of squared distances from the mean, in double precision: the denominator for sums of `squared_distance`
    over batches."""
    exact = wanted.double()
    return float((exact - exact.mean()).square().sum())


def relative_error(answer: Tensor, wanted: Tensor) -> Tensor:
    """Mean squared error over the variance of ``wanted``, a tensor of no dimensions: 0 is perfect, 1 that of the best
    constant."""
    return (answer - wanted).square().mean() / wanted.var(correction=0).clamp_min(torch.finfo(wanted.dtype).tiny)
