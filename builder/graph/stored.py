"""Weights as a bundle stores them: what a build measures and what it packs are the same numbers."""

from __future__ import annotations

import copy

import torch
import torch.nn as nn
from torch import Tensor

PRECISIONS = ("fp32", "fp16")

_HALF_MAX = torch.finfo(torch.float16).max


def prepare(module: nn.Module, precision: str) -> nn.Module:
    """A copy of a segment as the device loads it: on the CPU, contiguous, without denormal numbers.

    Denormals make convolutions 10 to 50 times slower on some CPUs. With ``fp16`` the weights are rounded to half
    precision, where their range allows it.
    """
    module = copy.deepcopy(module).cpu().to(memory_format=torch.contiguous_format).eval().requires_grad_(False)
    for value in [*module.parameters(), *module.buffers()]:
        value.data = value.data.contiguous()  # transposed matrices are stored as such until here
        if value.is_floating_point():
            tiny = torch.finfo(value.dtype).tiny
            value[value.abs() < tiny] = 0
            if precision == "fp16" and fits_half(value):
                value.copy_(value.half().to(value.dtype))
    return module


def fits_half(value: Tensor) -> bool:
    """Whether a tensor can be stored in half precision: single-precision numbers within its range."""
    return value.dtype == torch.float32 and (value.numel() == 0 or float(value.abs().max()) <= _HALF_MAX)
