"""Networks put together from segments."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import torch.nn as nn
from torch import Tensor, fx

from legodnn.builder.graph.segments import Segment, SegmentGraph
from legodnn.builder.graph.torchscript import optimized_execution

Values = dict[fx.Node, Tensor]


def run_segment(segment: Segment, module: nn.Module, values: Values) -> None:
    """Run one segment on the values it reads and add what it makes."""
    # Left to itself TorchScript compiles what it runs, and on a GPU its compiler fails on choices among detections.
    with optimized_execution(False):
        made = module(*[values[source] for source in segment.inputs])
    values.update(zip(segment.outputs, made if isinstance(made, tuple) else (made,), strict=True))


def _forget(graph: SegmentGraph, values: Values, position: int, keep: Collection[fx.Node]) -> None:
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
    """Run the segments from ``start`` up to ``stop`` (None: to the end) on the values there are before them.

    What is left are the values that segments from ``stop`` on read, those of the network's outputs and of ``keep``:
    each is let go of once nobody reads it any more.
    """
    values = dict(values)
    for i in range(start, len(graph.segments) if stop is None else stop):
        run_segment(graph.segments[i], modules[i], values)
        _forget(graph, values, i + 1, keep)
    return values


class Composition(nn.Module):
    """The network of one selection: a module per segment, run in the segments' order."""

    def __init__(self, graph: SegmentGraph, modules: Iterable[nn.Module]) -> None:
        super().__init__()
        self.graph = graph
        self.segments = nn.ModuleList(modules)

    def forward(self, *inputs: Tensor) -> Any:
        """What the teacher returns for its inputs, in the same containers."""
        return self.graph.answer(self._run(inputs))

    def outputs(self, *inputs: Tensor) -> list[Tensor]:
        """The tensors among that, each once, in the order of the graph's outputs."""
        values = self._run(inputs)
        return [values[node] for node in self.graph.outputs]

    def _run(self, inputs: Sequence[Tensor]) -> Values:
        return run_segments(self.graph, list(self.segments), dict(zip(self.graph.inputs, inputs, strict=True)))


def compose(graph: SegmentGraph, modules: Mapping[str, nn.Module], chosen: Mapping[str, nn.Module]) -> Composition:
    """A composition of ``modules`` (by segment name) with the blocks in ``chosen`` put in their place."""
    return Composition(graph, [chosen.get(s.name, modules[s.name]) for s in graph.segments]).eval()
