"""`Drift`: how far inferences are from their prediction, once that is more than chance."""

from __future__ import annotations

import statistics
from typing import List, Optional, Sequence

FEWEST = 5
"""Inferences that say something about the next ones."""


class Drift:
    """Finds the scale: how many times longer than predicted inferences take.

    Args:
        tolerance: the share by which the median of recent inferences may be off.
        patience: looks in a row in which it must be off by more before it is believed.
        forget: seconds without inferences after which half of the correction is forgotten.
    """

    def __init__(self, tolerance: float, patience: int, forget: float) -> None:
        self.scale = 1.0
        self._tolerance, self._patience, self._forget = tolerance, patience, forget
        self._off = 0
        self._seen: List[float] = []
        self._heard: Optional[float] = None

    def look(self, now: float, recent: Sequence[float], predicted: Optional[float]) -> bool:
        """Take in the last inferences of what runs, predicted to take so many seconds; whether the scale has changed.

        ``now`` is monotonic seconds. The same inferences as at the last look are no new evidence.
        """
        fresh = list(recent) != self._seen
        self._seen = list(recent)
        if self._heard is None or (fresh and recent):
            self._heard = now
        if predicted is None or predicted <= 0 or not fresh or len(recent) < FEWEST:
            return self._fade(now)
        found = statistics.median(recent) / predicted
        within = 1 / (1 + self._tolerance) <= found / self.scale <= 1 + self._tolerance
        self._off = 0 if within or found <= 0 else self._off + 1
        if self._off < self._patience:
            return False
        self.scale, self._off = found, 0
        return True

    def restart(self) -> None:
        """Something else runs now: looks at what ran before no longer count, while the scale stays."""
        self._off, self._seen = 0, []

    def _fade(self, now: float) -> bool:
        if self.scale == 1 or self._heard is None or now - self._heard < self._forget:
            return False
        self._heard = now
        # In steps, since every change of the scale may cost a choice.
        left = 1 + (self.scale - 1) / 2
        self.scale = left if abs(left - 1) > self._tolerance / 2 else 1.0
        return True
