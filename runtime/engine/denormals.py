"""Flush to zero: denormal numbers count as zero while a network runs; some CPUs take 10 to 50 times longer for them.

It is a mode of the calling thread. torch's worker threads inherit it when they start, that is, only if torch ran
nothing on several threads before; torch cannot set it for running threads.
"""

from __future__ import annotations

from typing import Any, Callable, Sequence

import torch
from torch import Tensor

_LEAST_NORMAL = 2.2250738585072014e-308


def is_flushing() -> bool:
    """Whether this thread flushes denormals to zero."""
    return _LEAST_NORMAL / 2 == 0.0


def run_flushing(function: Callable[..., Any], inputs: Sequence[Tensor]) -> Any:
    """Call a function with denormals flushed to zero, where the CPU supports it; the thread's mode is restored."""
    if is_flushing():
        return function(*inputs)
    torch.set_flush_denormal(True)
    try:
        return function(*inputs)
    finally:
        torch.set_flush_denormal(False)
