"""`Budget`: the time and memory available now; `Limits`: the same as bounds on predictions of this device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Sequence

from legodnn.runtime.optimizer.arguments import check_budget, check_number


@dataclass(frozen=True)
class Limits:
    """Upper bounds on a selection's predicted seconds and bytes; None for no limit."""

    seconds: Optional[float]
    memory_bytes: Optional[float]

    def met_by(self, seconds: Optional[float], memory_bytes: float) -> bool:
        """Whether these predictions are within the limits; unknown seconds meet no limit on time."""
        in_time = self.seconds is None or (seconds is not None and seconds <= self.seconds)
        return in_time and (self.memory_bytes is None or memory_bytes <= self.memory_bytes)

    def with_reserve(self, share: float) -> "Limits":
        """Limits divided by 1 + ``share``: a selection within them leaves that share of its use free."""
        return Limits(
            self.seconds / (1 + share) if self.seconds is not None else None,
            self.memory_bytes / (1 + share) if self.memory_bytes is not None else None,
        )

    def within(self, other: "Limits") -> bool:
        """Whether these limits are nowhere looser than the others."""
        return _at_most(self.seconds, other.seconds) and _at_most(self.memory_bytes, other.memory_bytes)


def _at_most(mine: Optional[float], other: Optional[float]) -> bool:
    return other is None or (mine is not None and mine <= other)


@dataclass(frozen=True)
class Budget:
    """The resources available to a network now.

    ``seconds`` per inference and ``memory_bytes`` are upper bounds, None for no limit. ``slowdown`` is the device's
    time for the same computation over its time when latencies were measured.

    Raises `UsageError` for anything but positive numbers.
    """

    seconds: Optional[float] = None
    memory_bytes: Optional[float] = None
    slowdown: float = 1.0

    def __post_init__(self) -> None:
        check_budget("time", self.seconds, "seconds")
        check_budget("memory", self.memory_bytes, "bytes")
        check_number("the slowdown", self.slowdown, "1 or so")

    def limits(self, scale: float) -> Limits:
        """The limits on predictions; ``scale`` is the factor of inferences over predictions beyond the slowdown."""
        seconds = self.seconds / (self.slowdown * scale) if self.seconds is not None else None
        return Limits(seconds, self.memory_bytes)


def tightest(budgets: Sequence[Budget]) -> Budget:
    """The least time, the least memory and the largest slowdown of budgets; a slowdown of 1 counts as unknown."""
    times = [b.seconds for b in budgets if b.seconds is not None]
    sizes = [b.memory_bytes for b in budgets if b.memory_bytes is not None]
    known = [b.slowdown for b in budgets if b.slowdown != 1]
    return Budget(min(times, default=None), min(sizes, default=None), max(known, default=1.0))
