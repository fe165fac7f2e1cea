"""`Drift`: how far inferences are from their prediction, once that is more than chance."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import Callable, List, Optional, Sequence

FEWEST = 5
"""Inferences that say something about the next ones."""

FEWEST_OF_MOST = 40
"""Inferences that say something about what most of the next ones stay within."""

_MOST = 0.95

_SAME = 0.1
"""Share by which two slowdowns may differ and be taken for the same."""

_LEVELS = 8
"""Slowdowns for which what was found is remembered."""


def _same(one: float, other: float) -> bool:
    return 1 / (1 + _SAME) <= one / other <= 1 + _SAME


def most(seconds: Sequence[float]) -> float:
    """What nineteen of twenty inferences stay within."""
    return sorted(seconds)[math.ceil(_MOST * len(seconds)) - 1]


@dataclass(frozen=True)
class _Level:
    """What was found while the device was so many times slower, in terms of the prediction for that: what inferences
    come to by the measure, and what they usually take."""

    slowdown: float
    scale: float
    usual: float

    def at(self, slowdown: float) -> float:
        """The scale that is to be expected at another slowdown.

        What is there beyond the usual comes from elsewhere: it is neither multiplied by a slowdown, nor less without.
        Inferences that were faster than predicted because a slowdown was overestimated say nothing about a device that
        is not slowed down, or is more so: it is not taken to be faster than when it was measured, or than it should be.
        """
        beyond = (self.scale - self.usual) * min(1.0, self.slowdown / slowdown)
        if self.usual < 1 and slowdown > self.slowdown:
            return 1.0 + beyond
        return max(self.usual, min(1.0, self.usual * self.slowdown) / slowdown) + beyond

    def faded(self, tolerance: float) -> _Level:
        """With half of the correction, or none where little is left."""
        scale, usual = (1 + (value - 1) / 2 for value in (self.scale, self.usual))
        if abs(scale - 1) <= tolerance / 2:
            return _Level(self.slowdown, 1.0, 1.0)
        return _Level(self.slowdown, scale, usual)


class Drift:
    """Finds the scale: how many times longer than predicted inferences take.

    It is remembered for each slowdown of the device, for what is the matter then is likely to be so the next time.

    Args:
        tolerance: the share by which recent inferences may be off.
        patience: looks in a row in which they must be off by more before it is believed.
        relief: the same where they are faster than thought; None for ``patience``. What is believed then is the slowest
            of those looks.
        forget: seconds without inferences after which half of the correction is forgotten.
        measure: what recent inferences come to.
        fewest: inferences below which that says nothing.
        caution: the scale until something else has been found, on a device that is not slowed down.
    """

    def __init__(
        self,
        tolerance: float,
        patience: int,
        forget: float,
        measure: Callable[[Sequence[float]], float] = statistics.median,
        fewest: int = FEWEST,
        relief: Optional[int] = None,
        caution: float = 1.0,
    ) -> None:
        self._tolerance, self._patience, self._forget = tolerance, patience, forget
        self._relief = relief or patience
        self._measure, self._fewest = measure, fewest
        self._cautious = _Level(1.0, caution, 1.0)
        self._levels: List[_Level] = []  # the one found last at the end
        self._now: Optional[float] = None
        self._off: List[_Level] = []  # what was found in the last looks, all of them too fast or all too slow
        self._seen: List[float] = []
        self._heard: Optional[float] = None

    def scale(self, slowdown: float, *, cautious: bool = True) -> float:
        """How many times longer than predicted inferences take on a device that is so many times slower.

        Without being ``cautious`` that is 1 until something else has been found.
        """
        for level in reversed(self._levels):
            if _same(level.slowdown, slowdown):
                return level.scale
        if self._levels:
            return self._levels[-1].at(slowdown)
        return self._cautious.at(slowdown) if cautious else 1.0

    def outdated(self, slowdown: float) -> bool:
        """Whether inferences up to now say nothing, since the device was so many times slower only from now on."""
        if self._now is not None and _same(self._now, slowdown):
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
        found, usual = (m(recent) / (predicted * slowdown) for m in (self._measure, statistics.median))
        times = found / self.scale(slowdown)
        if found <= 0 or 1 / (1 + self._tolerance) <= times <= 1 + self._tolerance:
            self._off = []
            return False
        if self._off and (self._off[-1].scale > self.scale(slowdown)) != (times > 1):
            self._off = []
        self._off.append(_Level(slowdown, found, min(found, usual)))
        if len(self._off) < (self._patience if times > 1 else self._relief):
            return False
        believed = self._off[-1] if times > 1 else max(self._off, key=lambda level: level.scale)
        others = [level for level in self._levels if not _same(level.slowdown, slowdown)]
        self._levels, self._off = [*others, believed][-_LEVELS:], []
        return True

    def restart(self) -> None:
        """Something else runs now: looks at what ran before no longer count, while the scale stays."""
        self._off, self._seen = [], []

    def _fade(self, now: float) -> bool:
        corrected = any(level.scale != 1 for level in self._levels)
        if not corrected or self._heard is None or now - self._heard < self._forget:
            return False
        self._heard = now
        # In steps, since every change of the scale may cost a choice.
        self._levels = [level.faded(self._tolerance) for level in self._levels]
        return True
