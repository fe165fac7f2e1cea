"""`Room`: what there is for several networks, as far as predictions go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Tuple


@dataclass(frozen=True)
class Room:
    """What there is for the networks, in terms of what was measured: bytes; frames a second and deadline of each."""

    memory_bytes: Optional[float]
    rates: Tuple[float, ...]
    deadlines: Tuple[float, ...]

    def tightened(self, other: "Room") -> "Room":
        """What there is in both rooms."""
        sizes = [m for m in (self.memory_bytes, other.memory_bytes) if m is not None]
        rates = (max(pair) for pair in zip(self.rates, other.rates))
        deadlines = (min(pair) for pair in zip(self.deadlines, other.deadlines))
        return Room(min(sizes, default=None), tuple(rates), tuple(deadlines))

    def slower_than(self, other: "Room", times: float) -> bool:
        """Whether any network has so many times as much to do as in the other room."""
        return any(mine > times * its for mine, its in zip(self.rates, other.rates))

    def within(self, other: "Room") -> bool:
        """Whether there is nowhere more than in the other room."""
        memory = other.memory_bytes is None or (
            self.memory_bytes is not None and self.memory_bytes <= other.memory_bytes
        )
        slower = all(mine >= its for mine, its in zip(self.rates, other.rates))
        return memory and slower and all(mine <= its for mine, its in zip(self.deadlines, other.deadlines))
