"""Where the parts of the network's drawing lie: its segments, one below the other, and the values that pass between
them. `templates/network.svg.j2` draws them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from legodnn.builder.report.summary import SegmentSummary

LANE, MOST_LANES = 9, 12


@dataclass(frozen=True)
class Box:
    """A segment: its upper edge, how long the bar of its weights is, and the part of it that even the smallest variant
    has; ``follows`` where it reads the segment above it."""

    segment: SegmentSummary
    top: float
    whole: float
    kept: float
    follows: bool


class Drawing:
    """A box for each segment; on the left, ``bypasses`` are the paths of values that pass by segments."""

    width, row, gap = 520, 52, 12
    padding = 12
    """What a box leaves free on either side of what is in it."""

    def __init__(self, segments: Sequence[SegmentSummary]) -> None:
        lanes = _lanes(segments)
        self.left = 6 + LANE * (1 + max(lanes.values(), default=-1))
        self.right = self.width - 2
        self.height = len(segments) * (self.row + self.gap) - self.gap + 4
        self.bypasses = [self._bypass(*ends, self.left - LANE * (lane + 0.5)) for ends, lane in lanes.items()]
        longest = self.right - self.left - 2 * self.padding
        largest = max((s.resources.weight_bytes for s in segments), default=0)
        scale = longest / max(1, largest)
        self.boxes = [
            Box(
                segment,
                self._top(number),
                max(1.0, scale * segment.resources.weight_bytes),
                max(1.0, scale * segment.smallest_bytes),
                number > 0 and number - 1 in segment.reads,
            )
            for number, segment in enumerate(segments)
        ]

    def _top(self, number: int) -> float:
        return 2.0 + number * (self.row + self.gap)

    def _bypass(self, maker: int, reader: int, x: float) -> str:
        """A value that goes from one segment, or the input (-1), to one further down."""
        start = self._top(maker) + self.row * 0.7 if maker >= 0 else 2.0
        end = self._top(reader) + self.row * 0.3
        down = f"V{end - 3} Q{x} {end} {x + 3} {end} H{self.left}"
        return f"M{self.left} {start} H{x + 3} Q{x} {start} {x} {start + 3} {down}"


def _lanes(segments: Sequence[SegmentSummary]) -> dict[tuple[int, int], int]:
    """For every value that passes by a segment the lane it takes; those that overlap take different ones, as far as
    there are lanes."""
    passing = [(maker, i) for i, s in enumerate(segments) for maker in s.reads if maker < i - 1]
    ends: list[int] = []
    lanes = {}
    for maker, reader in sorted(passing):
        free = next((lane for lane, end in enumerate(ends) if end <= maker), None)
        if free is None:
            free = min(len(ends), MOST_LANES - 1)
            ends += [0] * (free + 1 - len(ends))
        ends[free] = max(ends[free], reader)
        lanes[maker, reader] = free
    return lanes
