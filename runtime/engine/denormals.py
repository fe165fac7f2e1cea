"""Numbers too small to be normal are taken as zero while a network runs: some CPUs take 10 to 50 times longer for them.

It is a mode of the calling thread. Threads of torch that compute along have it where they were started in it, that is,
where nothing of torch ran on several threads before; which torch offers no way to change.
"""

from __future__ import annotations

from typing import Any, Callable, Sequence

import torch
from torch import Tensor

_LEAST_NORMAL = 2.2250738585072014e-308


def is_flushing() -> bool:
    """Whether this thread takes such numbers as zero."""
    return _LEAST_NORMAL / 2 == 0.0


def run_flushing(function: Callable[..., Any], inputs: Sequence[Tensor]) -> Any:
    """What a function returns, run in this mode where the device has it; the thread gets back the mode it was in."""
    if is_flushing():
        return function(*inputs)
    torch.set_flush_denormal(True)
    try:
        return function(*inputs)
    finally:
        torch.set_flush_denormal(False)
