"""The error of a block's output against the original's."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function


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
    error: Tensor = _MeanSquare.apply(answer, wanted)
    return error / wanted.var(correction=0).clamp_min(torch.finfo(wanted.dtype).tiny)


class _MeanSquare(Function):
    """The mean squared difference of two tensors of one shape, to the bit that of torch.

    Its gradient takes the memory of one such tensor, torch's that of four: 3 MiB each for an image of 224 pixels in
    ResNet-50, and all the time that a block's graph is held.
    """

    @staticmethod
    def forward(ctx: Any, answer: Tensor, wanted: Tensor) -> Tensor:
        difference = answer - wanted
        ctx.save_for_backward(difference)
        return difference.square().mean()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None]:
        (difference,), (gradient,) = ctx.saved_tensors, gradients
        # In torch's layout, too: in another one, later sums over it have another order.
        found = torch.empty_like(difference, memory_format=torch.contiguous_format)
        torch.mul(difference, 2 * (gradient / difference.numel()), out=found)
        return (found if ctx.needs_input_grad[0] else None), (-found if ctx.needs_input_grad[1] else None)
