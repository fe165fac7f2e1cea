"""Segments run in order, and the networks composed of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import torch.nn as nn
from torch import Tensor, fx

from legodnn.builder.graph.segments import Segment, SegmentGraph
from legodnn.builder.graph.torchscript import optimized_execution

Values = dict[fx.Node, Tensor]


def run_segment(segment: Segment, module: nn.Module, values: Values) -> None:
    """Run one segment on the values it reads and add its outputs to ``values``, in place."""
    # Otherwise TorchScript compiles what it runs, and on a GPU its compiler fails on the selection of detections.
    with optimized_execution(False):
        made = module(*[values[source] for source in segment.inputs])
    values.update(zip(segment.outputs, made if isinstance(made, tuple) else (made,), strict=True))


def forget(graph: SegmentGraph, values: Values, position: int, keep: Collection[fx.Node]) -> None:
    """Drop the values that no segment from ``position`` on reads and that are neither the network's outputs nor among
    those to ``keep``."""
    needed = {source for segment in graph.segments[position:] for source in segment.inputs}
    needed.update(graph.outputs, keep)
    for node in [n for n in values if n not in needed]:
        del values[node]


def run_segments(
    graph: SegmentGraph,
    modules: Sequence[nn.Module],
    values: Values,
    start: int = 0,
    stop: int | None = None,
    keep: Collection[fx.Node] = (),
) -> Values:
    """Run the segments from ``start`` up to ``stop`` (None: to the end) on the values that enter them.

    Returns the values that segments from ``stop`` on read, the network's outputs and ``keep``; all others are freed
    after their last reader. ``values`` itself is not changed.
    """
    values = dict(values)
    for i in range(start, len(graph.segments) if stop is None else stop):
        run_segment(graph.segments[i], modules[i], values)
        forget(graph, values, i + 1, keep)
    return values


class Composition(nn.Module):
    """The executable network of one selection: a module per segment, run in the segments' order."""

    def __init__(self, graph: SegmentGraph, modules: Iterable[nn.Module]) -> None:
        super().__init__()
        self.graph = graph
        self.segments = nn.ModuleList(modules)

    def forward(self, *inputs: Tensor) -> Any:
        """The teacher's result for these inputs, in the same containers."""
        return self.graph.answer(self._run(inputs))

    def outputs(self, *inputs: Tensor) -> list[Tensor]:
        """The tensors that the teacher returns, each once, in the order of the graph's outputs."""
        values = self._run(inputs)
        return [values[node] for node in self.graph.outputs]

    def _run(self, inputs: Sequence[Tensor]) -> Values:
        return run_segments(self.graph, list(self.segments), dict(zip(self.graph.inputs, inputs, strict=True)))


def compose(graph: SegmentGraph, modules: Mapping[str, nn.Module], chosen: Mapping[str, nn.Module]) -> Composition:
    """A composition of ``modules`` (by segment name) in eval mode, with the blocks in ``chosen`` in place of their
    originals."""
    return Composition(graph, [chosen.get(s.name, modules[s.name]) for s in graph.segments]).eval()
