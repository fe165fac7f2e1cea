"""`Capacity`: what is available to several networks, as bounds on predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Tuple


@dataclass(frozen=True)
class Capacity:
    """Bounds on predictions: bytes for all networks together (None for no limit), and each one's frames per second and
    deadline in seconds, both scaled by slowdown and correction."""

    memory_bytes: Optional[float]
    rates: Tuple[float, ...]
    deadlines: Tuple[float, ...]

    def tightened(self, other: "Capacity") -> "Capacity":
        """The tighter of both in every bound."""
        sizes = [m for m in (self.memory_bytes, other.memory_bytes) if m is not None]
        rates = (max(pair) for pair in zip(self.rates, other.rates))
        deadlines = (min(pair) for pair in zip(self.deadlines, other.deadlines))
        return Capacity(min(sizes, default=None), tuple(rates), tuple(deadlines))

    def slower_than(self, other: "Capacity", times: float) -> bool:
        """Whether any network's rate is more than ``times`` the other's."""
        return any(mine > times * its for mine, its in zip(self.rates, other.rates))

    def within(self, other: "Capacity") -> bool:
        """Whether no bound is looser than the other's."""
        memory = other.memory_bytes is None or (
            self.memory_bytes is not None and self.memory_bytes <= other.memory_bytes
        )
        slower = all(mine >= its for mine, its in zip(self.rates, other.rates))
        return memory and slower and all(mine <= its for mine, its in zip(self.deadlines, other.deadlines))
