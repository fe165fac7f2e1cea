"""Data-dependent selections: behind them, two networks cannot be compared element by element.

A detector selects boxes. Two nearly equal networks may select them in another order, and then everything computed from
the selection differs widely. So networks are compared by the inputs of their selections.
"""

from __future__ import annotations

from collections.abc import Collection

from torch import fx

from legodnn.builder.graph import values
from legodnn.builder.graph.segments import Segment, SegmentGraph


def is_data_dependent(segment: Segment) -> bool:
    """Whether a segment is a data-dependent selection; `cut` gives each a segment of its own."""
    return any(values.is_data_dependent(node) for node in segment.nodes)


def comparable(graph: SegmentGraph, changed: Collection[str]) -> list[fx.Node]:
    """The values by which two networks that differ in the blocks ``changed`` are compared, in graph order.

    These are the outputs that depend on the blocks and, in place of outputs behind a data-dependent selection, the
    inputs of the first such selection on each path.
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
            if is_data_dependent(segment):
                found.update(dict.fromkeys(n for n in segment.inputs if n in moved))
                beyond.update(segment.outputs)
            else:
                moved.update(segment.outputs)
    found.update(dict.fromkeys(n for n in graph.outputs if n in moved))
    return list(found)
