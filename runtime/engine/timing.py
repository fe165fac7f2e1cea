"""Compositions timed in turns."""

from __future__ import annotations

import time
from typing import Any, Callable, List, Sequence

from torch import Tensor


def time_turns(
    compositions: Sequence[Callable[..., Any]], inputs: Sequence[Tensor], turns: int, repeats: int = 1
) -> List[List[float]]:
    """Seconds of each composition in each turn, as [turn][composition]; in turns, a disturbance affects all alike.

    In its turn a composition runs ``repeats`` times and the last run counts, with its weights in the CPU's caches as in
    a stream of inferences.
    """
    seconds: List[List[float]] = []
    for _ in range(turns):
        seconds.append([_last_of(repeats, composition, inputs) for composition in compositions])
    return seconds


def _last_of(repeats: int, composition: Callable[..., Any], inputs: Sequence[Tensor]) -> float:
    for _ in range(repeats):
        started = time.perf_counter()
        composition(*inputs)
        seconds = time.perf_counter() - started
    return seconds
