"""What no other beats: the Pareto front of points with up to four numbers, the less the better in each."""

from __future__ import annotations

import bisect
from typing import Dict, List, Sequence, Tuple

Point = Tuple[float, float, float, float]


class Staircase:
    """The pairs of numbers seen so far that no other pair equals or beats: the first rising, the second falling."""

    def __init__(self) -> None:
        self.first: List[float] = []
        self.second: List[float] = []

    def covers(self, first: float, second: float) -> bool:
        """Whether a pair in it equals or beats this one."""
        place = bisect.bisect_right(self.first, first)
        return place > 0 and self.second[place - 1] <= second

    def add(self, first: float, second: float) -> None:
        """Put in a pair that is not covered, and take out those that it covers."""
        start = end = bisect.bisect_left(self.first, first)
        while end < len(self.second) and self.second[end] >= second:
            end += 1
        self.first[start:end] = [first]
        self.second[start:end] = [second]


class Front:
    """The points seen so far that none before them equals or beats, where points come sorted.

    The first number need not be told then: it is nowhere less than before. The fourth has few values, each of which
    gets a staircase of the two between.
    """

    def __init__(self) -> None:
        self._levels: Dict[float, Staircase] = {}

    def takes(self, second: float, third: float, fourth: float) -> bool:
        """Whether the next point is not equalled or beaten; it is in the front then."""
        for level, stairs in self._levels.items():
            if level <= fourth:
                place = bisect.bisect_right(stairs.first, second)
                if place and stairs.second[place - 1] <= third:
                    return False
        self._levels.setdefault(fourth, Staircase()).add(second, third)
        return True


def unbeaten(points: Sequence[Point]) -> List[int]:
    """The places of the points that no other one equals or beats in all numbers, sorted; the first of equals."""
    front = Front()
    return [i for i in sorted(range(len(points)), key=lambda i: points[i]) if front.takes(*points[i][1:])]
