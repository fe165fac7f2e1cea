"""`View`: the values on the screen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Tuple


@dataclass(frozen=True)
class NetworkView:
    """One network.

    ``sparsities`` are those of the current selection, block by block, each at least 0 and below 1. Times are seconds
    per inference: predicted, recently measured, and the limit. ``memory_bytes`` and ``accuracy`` are predictions,
    ``metric`` is what the latter is called, ``error`` its error as text. ``per_second`` counts recent frames,
    ``dropped`` is None where none can be dropped, ``latest`` is the text about the last frame.
    """

    name: str
    sparsities: Tuple[float, ...]
    predicted_seconds: Optional[float]
    measured_seconds: Optional[float]
    seconds_limit: Optional[float]
    memory_bytes: int
    metric: str
    accuracy: float
    error: str
    frames: int
    per_second: float
    dropped: Optional[int]
    latest: str


@dataclass(frozen=True)
class View:
    """All values on the screen.

    ``memory_limit`` (bytes) is for all networks together, ``slowdown`` that of the budget, ``seconds`` the time since
    the first frame, ``decisions`` texts, the latest last.
    """

    networks: Tuple[NetworkView, ...]
    memory_limit: Optional[float]
    slowdown: float
    seconds: float
    decisions: Tuple[str, ...]
