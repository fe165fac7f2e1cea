"""`Drift`: how far inferences are from their prediction, once that is more than chance."""

from __future__ import annotations

import math
import statistics
from typing import Callable, List, Optional, Sequence

FEWEST = 5
"""Inferences that say something about the next ones."""

FEWEST_OF_MOST = 60
"""Inferences that say something about what most of the next ones stay within."""

_MOST = 0.95

_SAME = 0.1
"""Share by which two slowdowns may differ and be taken for the same."""


def most(seconds: Sequence[float]) -> float:
    """What nineteen of twenty inferences stay within."""
    return sorted(seconds)[math.ceil(_MOST * len(seconds)) - 1]


class Drift:
    """Finds the scale: how many times longer than predicted inferences take.

    Args:
        tolerance: the share by which recent inferences may be off.
        patience: looks in a row in which they must be off by more before it is believed.
        relief: the same where they are faster than thought; None for ``patience``. What is believed then is the slowest
            of those looks.
        forget: seconds without inferences after which half of the correction is forgotten.
        measure: what recent inferences come to.
        fewest: inferences below which that says nothing.
    """

    def __init__(
        self,
        tolerance: float,
        patience: int,
        forget: float,
        measure: Callable[[Sequence[float]], float] = statistics.median,
        fewest: int = FEWEST,
        relief: Optional[int] = None,
    ) -> None:
        self._tolerance, self._patience, self._forget = tolerance, patience, forget
        self._relief = relief or patience
        self._measure, self._fewest = measure, fewest
        self._scale, self._slowdown = 1.0, 1.0
        self._now: Optional[float] = None
        self._off: List[float] = []  # what was found in the last looks, all of them too fast or all too slow
        self._seen: List[float] = []
        self._heard: Optional[float] = None

    def scale(self, slowdown: float) -> float:
        """How many times longer than predicted inferences take on a device that is so many times slower.

        Inferences that were faster than predicted because a slowdown was overestimated say nothing about a device that
        is not slowed down, or is more so: it is not taken to be faster than when it was measured, or than it should be.
        """
        if self._scale < 1 and slowdown > self._slowdown * (1 + self._tolerance):
            return 1.0
        return max(self._scale, min(1.0, self._scale * self._slowdown) / slowdown)

    def outdated(self, slowdown: float) -> bool:
        """Whether inferences up to now say nothing, since the device was so many times slower only from now on."""
        near = self._now is not None and 1 / (1 + _SAME) <= slowdown / self._now <= 1 + _SAME
        if near:
            return False
        known, self._now = self._now is not None, slowdown
        self.restart()
        return known

    def look(self, now: float, recent: Sequence[float], predicted: Optional[float], slowdown: float) -> bool:
        """Take in the last inferences of what runs, predicted to take so many seconds on a device that is not slowed
        down; whether the scale has changed.

        ``now`` is monotonic seconds. The same inferences as at the last look are no new evidence.
        """
        fresh = list(recent) != self._seen
        self._seen = list(recent)
        if self._heard is None or (fresh and recent):
            self._heard = now
        if predicted is None or predicted <= 0 or not fresh or len(recent) < self._fewest:
            return self._fade(now)
        found = self._measure(recent) / (predicted * slowdown)
        times = found / self.scale(slowdown)
        if found <= 0 or 1 / (1 + self._tolerance) <= times <= 1 + self._tolerance:
            self._off = []
            return False
        if self._off and (self._off[-1] > self.scale(slowdown)) != (times > 1):
            self._off = []
        self._off.append(found)
        if len(self._off) < (self._patience if times > 1 else self._relief):
            return False
        self._scale, self._slowdown, self._off = found if times > 1 else max(self._off), slowdown, []
        return True

    def restart(self) -> None:
        """Something else runs now: looks at what ran before no longer count, while the scale stays."""
        self._off, self._seen = [], []

    def _fade(self, now: float) -> bool:
        if self._scale == 1 or self._heard is None or now - self._heard < self._forget:
            return False
        self._heard = now
        # In steps, since every change of the scale may cost a choice.
        left = 1 + (self._scale - 1) / 2
        self._scale = left if abs(left - 1) > self._tolerance / 2 else 1.0
        return True
