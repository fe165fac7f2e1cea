"""Strided 1x1 convolutions during training, around a fault of oneDNN.

Its gradient by the weights writes beyond its workspace where a channels-last input has fewer channels than a vector
register (16 in AVX-512, 8 in AVX2), and a thread begins within an image: oneDNN issue 6035, seen with torch 2.14.
What follows is a crash, a hang or wrong weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_VECTOR = 16
"""Floats of the widest vector registers."""

_CONVOLUTIONS = (torch.conv1d, torch.conv2d, torch.conv3d)


class StridesBySlicing(TorchFunctionMode):
    """Within this context, a strided 1x1 convolution of few channels whose weights are trained takes the pixels it
    reads from its input first, and is then computed without a stride: the same products, in the same order.

    Others are called as they are, and all of them where no gradient is computed.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call ``func``, with other arguments where it is such a convolution."""
        kwargs = kwargs or {}
        if func not in _CONVOLUTIONS or not torch.is_grad_enabled():
            return func(*args, **kwargs)
        return func(*_without_stride(*args, **kwargs))


def _without_stride(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: str | int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> tuple[Any, ...]:
    """The arguments of torch's convolutions, where the fault threatens with the input sliced."""
    size = weight.dim() - 2
    strides, paddings = _of_each(stride, size), _of_each(padding, size)
    threatened = (
        weight.requires_grad
        and weight.shape[1] < _VECTOR
        and set(weight.shape[2:]) == {1}
        and max(strides) > 1
        and set(paddings) <= {0, "valid", "same"}
    )
    if threatened:
        read: tuple[Any, ...] = (..., *(slice(None, None, step) for step in strides))
        layout = torch.channels_last if size == 2 and _in_channels_last(input) else torch.contiguous_format
        input, stride = input[read].contiguous(memory_format=layout), 1
    return input, weight, bias, stride, padding, dilation, groups


def _of_each(value: Any, size: int) -> tuple[Any, ...]:
    return (value,) * size if isinstance(value, (int, str)) else tuple(value) * (size // len(value))


def _in_channels_last(input: Tensor) -> bool:
    return input.dim() == 4 and input.is_contiguous(memory_format=torch.channels_last)
