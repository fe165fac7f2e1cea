"""Relative errors of outputs."""

from __future__ import annotations

from typing import Any, List, Sequence

import torch
from torch import Tensor

from legodnn.shared.errors import CompositionError

AGREEMENT = 1e-4
"""Largest relative error of fused against unfused programs, which sum in another order in float32; not tuned."""


def relative_error(found: Tensor, expected: Tensor) -> float:
    """The norm of the difference over the norm of ``expected``; infinite for another shape and for inf or NaN."""
    if found.shape != expected.shape or not bool(torch.isfinite(found).all()):
        return float("inf")
    difference = float((found.double() - expected.double()).norm())
    return difference / max(float(expected.double().norm()), 1e-12)


def require_agreement(found: Sequence[Tensor], expected: Sequence[Tensor], what: str) -> None:
    """Raise `CompositionError`, naming ``what``, where an output is off by more than `AGREEMENT`."""
    for mine, wanted in zip(found, expected):
        error = relative_error(mine, wanted)
        if not error <= AGREEMENT:
            raise CompositionError(f"{what} is off by {error:.1e} from its segments")


def tensors(value: Any) -> List[Tensor]:
    """The outputs of a network or a segment as a list."""
    return list(value) if isinstance(value, tuple) else [value]
