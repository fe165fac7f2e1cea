"""`Budget`: what there is for a network now; `Limits`: the same in terms of what was measured on this device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Sequence

from legodnn.runtime.optimizer.arguments import check_budget, check_number


@dataclass(frozen=True)
class Limits:
    """The most seconds and bytes a selection may be predicted to need, None for no limit."""

    seconds: Optional[float]
    memory_bytes: Optional[float]

    def met_by(self, seconds: Optional[float], memory_bytes: float) -> bool:
        """Whether a selection that needs this much is within the limits; unknown seconds meet no limit."""
        in_time = self.seconds is None or (seconds is not None and seconds <= self.seconds)
        return in_time and (self.memory_bytes is None or memory_bytes <= self.memory_bytes)

    def with_reserve(self, share: float) -> "Limits":
        """Limits that leave this share of what is used up to them free."""
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
    """What there is for a network now.

    ``seconds`` per inference and ``memory_bytes`` are the most it may need, None for no limit. ``slowdown`` says how
    many times longer than when its latencies were measured it takes the device now to compute the same.

    Raises `UsageError` for what is not a positive number.
    """

    seconds: Optional[float] = None
    memory_bytes: Optional[float] = None
    slowdown: float = 1.0

    def __post_init__(self) -> None:
        check_budget("time", self.seconds, "seconds")
        check_budget("memory", self.memory_bytes, "bytes")
        check_number("the slowdown", self.slowdown, "1 or so")

    def limits(self, scale: float) -> Limits:
        """The limits on predictions; ``scale`` is how many times longer than predicted inferences take even so."""
        seconds = self.seconds / (self.slowdown * scale) if self.seconds is not None else None
        return Limits(seconds, self.memory_bytes)


def tightest(budgets: Sequence[Budget]) -> Budget:
    """The least time, the least memory and the largest slowdown of budgets; a slowdown nobody knows is 1."""
    times = [b.seconds for b in budgets if b.seconds is not None]
    sizes = [b.memory_bytes for b in budgets if b.memory_bytes is not None]
    known = [b.slowdown for b in budgets if b.slowdown != 1]
    return Budget(min(times, default=None), min(sizes, default=None), max(known, default=1.0))
