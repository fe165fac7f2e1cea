"""Compositions timed side by side."""

from __future__ import annotations

import statistics
import time
from typing import Any, Callable, List, Sequence

from torch import Tensor


def time_interleaved(compositions: Sequence[Callable[..., Any]], inputs: Sequence[Tensor], rounds: int) -> List[float]:
    """The median seconds of each composition; all take turns, so that a disturbance meets all alike."""
    seconds: List[List[float]] = [[] for _ in compositions]
    for _ in range(rounds):
        for record, composition in zip(seconds, compositions):
            started = time.perf_counter()
            composition(*inputs)
            record.append(time.perf_counter() - started)
    return [statistics.median(record) for record in seconds]
