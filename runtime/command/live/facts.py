"""What the live view shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Tuple


@dataclass(frozen=True)
class NetworkFacts:
    """One network.

    ``sparsities`` are those of the selection that runs, block by block, each at least 0 and below 1. Times are seconds
    per inference: predicted, measured lately, and the most there is. ``memory_bytes`` is what the selection needs,
    ``accuracy`` what it is predicted to reach, give or take ``accuracy_error``. ``per_second`` is how many frames were
    run lately, ``dropped`` is None where none can be, ``latest`` is about the last frame.
    """

    name: str
    sparsities: Tuple[float, ...]
    predicted_seconds: Optional[float]
    measured_seconds: Optional[float]
    seconds_limit: Optional[float]
    memory_bytes: int
    accuracy: float
    accuracy_error: float
    frames: int
    per_second: float
    dropped: Optional[int]
    latest: str


@dataclass(frozen=True)
class Facts:
    """Everything on the screen.

    ``memory_limit`` (bytes) is for all networks together, ``slowdown`` how many times longer than when it was measured
    the device takes to compute, ``seconds`` how long frames have been running, ``decisions`` what was decided, the
    latest last.
    """

    networks: Tuple[NetworkFacts, ...]
    memory_limit: Optional[float]
    slowdown: float
    seconds: float
    decisions: Tuple[str, ...]
