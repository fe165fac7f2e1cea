"""The Pareto front of points with up to four coordinates, the less the better in each."""

from __future__ import annotations

import bisect
from typing import Dict, List, Sequence, Tuple

Point = Tuple[float, float, float, float]


class Staircase:
    """The non-dominated pairs so far: the first coordinate rising, the second falling."""

    def __init__(self) -> None:
        self.first: List[float] = []
        self.second: List[float] = []

    def covers(self, first: float, second: float) -> bool:
        """Whether a pair in it equals or dominates this one."""
        place = bisect.bisect_right(self.first, first)
        return place > 0 and self.second[place - 1] <= second

    def add(self, first: float, second: float) -> None:
        """Add a pair that is not covered, and remove those it covers."""
        start = end = bisect.bisect_left(self.first, first)
        while end < len(self.second) and self.second[end] >= second:
            end += 1
        self.first[start:end] = [first]
        self.second[start:end] = [second]


class Front:
    """The non-dominated points so far, where points come in sorted order.

    The first coordinate is then not needed, as it never falls. The fourth has few values, each with a staircase of the
    second and third.
    """

    def __init__(self) -> None:
        self._levels: Dict[float, Staircase] = {}

    def takes(self, second: float, third: float, fourth: float) -> bool:
        """Whether the next point is not equalled or dominated; it is then added."""
        for level, stairs in self._levels.items():
            if level <= fourth:
                place = bisect.bisect_right(stairs.first, second)
                if place and stairs.second[place - 1] <= third:
                    return False
        self._levels.setdefault(fourth, Staircase()).add(second, third)
        return True


def unbeaten(points: Sequence[Point]) -> List[int]:
    """The indices of the non-dominated points, in the points' sorted order; the first of equals."""
    front = Front()
    return [i for i in sorted(range(len(points)), key=lambda i: points[i]) if front.takes(*points[i][1:])]
