"""`Pauses`: exponential back-off after failures."""

from __future__ import annotations

LONGEST = 60.0
"""Seconds between two attempts, at most; not tuned."""


class Pauses:
    """Exponential back-off: after ``first`` seconds, doubled with each consecutive failure up to `LONGEST`."""

    def __init__(self, first: float) -> None:
        self._first = first
        self._failures = 0
        self._next = 0.0
        self._urgent = False

    def forbid(self, now: float, urgent: bool) -> bool:
        """Whether it is too early to try again; what has become urgent since the last failure does not wait."""
        return self._failures > 0 and now < self._next and (self._urgent or not urgent)

    def failed(self, now: float, urgent: bool) -> float:
        """Count a failure; returns the seconds until the next attempt."""
        pause = min(LONGEST, self._first * 2.0 ** min(self._failures, 30))
        self._failures += 1
        self._next, self._urgent = now + pause, urgent
        return pause

    def succeeded(self) -> None:
        """Reset after a success."""
        self._failures = 0
