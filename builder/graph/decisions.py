"""Where a network decides: behind that, values of two networks cannot be compared number by number.

A detector chooses boxes. Two nearly equal networks may choose in another order, and then everything computed from the
choice differs widely though nothing has changed much. So networks are compared by what their decisions are made from.
"""

from __future__ import annotations

from collections.abc import Collection

from torch import fx

from legodnn.builder.graph import values
from legodnn.builder.graph.segments import Segment, SegmentGraph


def decides(segment: Segment) -> bool:
    """Whether something is decided in a segment; then it does nothing else."""
    return any(values.decides(node) for node in segment.nodes)


def comparable(graph: SegmentGraph, changed: Collection[str]) -> list[fx.Node]:
    """The values by which two networks are compared that differ in these blocks, in the order they come about.

    These are the outputs, or what enters the first decisions on the way to them.
    """
    moved: set[fx.Node] = set()
    beyond: set[fx.Node] = set()
    found: dict[fx.Node, None] = {}
    for segment in graph.segments:
        if beyond.intersection(segment.inputs):
            beyond.update(segment.outputs)
        elif segment.name in changed:
            moved.update(segment.outputs)
        elif moved.intersection(segment.inputs):
            if decides(segment):
                found.update(dict.fromkeys(n for n in segment.inputs if n in moved))
                beyond.update(segment.outputs)
            else:
                moved.update(segment.outputs)
    found.update(dict.fromkeys(n for n in graph.outputs if n in moved))
    return list(found)
