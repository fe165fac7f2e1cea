"""`Drift`: the factor of measured over predicted seconds, once it is significant."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import Callable, List, Optional, Sequence

FEWEST = 5
"""Inferences needed to judge their median; not tuned."""

FEWEST_OF_MOST = 40
"""Inferences needed to judge their 95th percentile, of which two are then above it."""

_MOST = 0.95
"""The quantile for deadlines: one inference in twenty may be late; not tuned."""

_SAME = 0.1
"""Relative difference up to which two slowdowns count as equal; not tuned."""

_LEVELS = 8
"""Slowdowns whose factors are remembered, the latest ones; not tuned."""


def _same(one: float, other: float) -> bool:
    return 1 / (1 + _SAME) <= one / other <= 1 + _SAME


def most(seconds: Sequence[float]) -> float:
    """The 95th percentile."""
    return sorted(seconds)[math.ceil(_MOST * len(seconds)) - 1]


@dataclass(frozen=True)
class _Level:
    """Measured over predicted seconds at one slowdown: ``scale`` by the drift's measure, ``usual`` by the median."""

    slowdown: float
    scale: float
    usual: float

    def at(self, slowdown: float) -> float:
        """The scale expected at another slowdown.

        The excess of the scale over the median comes from other sources, so in seconds it does not change with the
        slowdown. A median below the prediction may come from an overestimated slowdown, so it is not extrapolated: at a
        larger slowdown the prediction is assumed, at a smaller one at least the latency as measured.
        """
        beyond = (self.scale - self.usual) * min(1.0, self.slowdown / slowdown)
        if self.usual < 1 and slowdown > self.slowdown:
            return 1.0 + beyond
        return max(self.usual, min(1.0, self.usual * self.slowdown) / slowdown) + beyond

    def faded(self, tolerance: float) -> _Level:
        """With half of the correction, or none once it is within half the tolerance."""
        scale, usual = (1 + (value - 1) / 2 for value in (self.scale, self.usual))
        if abs(scale - 1) <= tolerance / 2:
            return _Level(self.slowdown, 1.0, 1.0)
        return _Level(self.slowdown, scale, usual)


class Drift:
    """Finds the scale: measured over predicted seconds of inferences.

    It is remembered for each slowdown of the device, since the causes of a slowdown tend to recur.

    Args:
        tolerance: the relative deviation of recent inferences that is ignored.
        patience: consecutive iterations with a larger deviation before the scale changes.
        relief: the same for inferences faster than expected; None for ``patience``. The scale is then the slowest of
            those iterations.
        forget: seconds without inferences after which half of the correction is forgotten.
        measure: the statistic of recent inferences, in seconds.
        fewest: inferences it needs.
        caution: the scale before any was measured, on a device that is not slowed down.
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
        self._levels: List[_Level] = []  # the latest is the last
        self._now: Optional[float] = None
        self._off: List[_Level] = []  # of the last iterations, all too fast or all too slow
        self._seen: List[float] = []
        self._heard: Optional[float] = None

    def scale(self, slowdown: float, *, cautious: bool = True) -> float:
        """Measured over predicted seconds at a slowdown of the device.

        Unless ``cautious`` it is 1 before any was measured.
        """
        for level in reversed(self._levels):
            if _same(level.slowdown, slowdown):
                return level.scale
        if self._levels:
            return self._levels[-1].at(slowdown)
        return self._cautious.at(slowdown) if cautious else 1.0

    def outdated(self, slowdown: float) -> bool:
        """Note the slowdown; returns whether it has changed, so that earlier inferences no longer count."""
        if self._now is not None and _same(self._now, slowdown):
            return False
        known, self._now = self._now is not None, slowdown
        self.restart()
        return known

    def look(self, now: float, recent: Sequence[float], predicted: Optional[float], slowdown: float) -> bool:
        """Evaluate the last inferences of the current selection; returns whether a scale has changed.

        ``now`` is monotonic seconds, ``recent`` seconds of inferences, ``predicted`` seconds without any slowdown. The
        same inferences as in the last iteration do not count again.
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
        """Forget the deviations of earlier iterations, as another selection runs now; scales stay."""
        self._off, self._seen = [], []

    def _fade(self, now: float) -> bool:
        corrected = any(level.scale != 1 for level in self._levels)
        if not corrected or self._heard is None or now - self._heard < self._forget:
            return False
        self._heard = now
        # In steps, since every change of the scale may cost a choice.
        self._levels = [level.faded(self._tolerance) for level in self._levels]
        return True
