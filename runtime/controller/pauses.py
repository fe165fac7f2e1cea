"""`Pauses`: what fails is tried again, ever less often."""

from __future__ import annotations

LONGEST = 60.0
"""Seconds between two attempts, at most."""


class Pauses:
    """Counts failures in a row and says when to try again: after ``first`` seconds, then twice as many, and so on."""

    def __init__(self, first: float) -> None:
        self._first = first
        self._failures = 0
        self._next = 0.0
        self._urgent = False

    def forbid(self, now: float, urgent: bool) -> bool:
        """Whether it is too early to try again; what has become urgent since the last attempt need not wait."""
        return self._failures > 0 and now < self._next and (self._urgent or not urgent)

    def failed(self, now: float, urgent: bool) -> float:
        """Note a failure; returns the seconds until the next attempt."""
        pause = min(LONGEST, self._first * 2.0 ** min(self._failures, 30))
        self._failures += 1
        self._next, self._urgent = now + pause, urgent
        return pause

    def succeeded(self) -> None:
        """Forget all failures."""
        self._failures = 0
