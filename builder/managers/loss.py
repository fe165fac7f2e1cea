"""How far a block's answer is from the original's."""

from __future__ import annotations

import torch
from torch import Tensor


def relative_error(answer: Tensor, wanted: Tensor) -> Tensor:
    """Squared error over the variance of what was wanted: 0 is perfect, 1 is no better than a constant."""
    return (answer - wanted).square().mean() / wanted.var(correction=0).clamp_min(torch.finfo(wanted.dtype).tiny)
