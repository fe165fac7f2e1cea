"""Programs of segments put together into one.

A program is a TorchScript graph without parameters of its own: its weights are constants in it. Joined, the graphs
share those constants with the segments they came from; no weight is copied.
"""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import Any, Dict, Iterator, Mapping, Sequence

import torch

from legodnn.runtime.engine.ways import Way
from legodnn.shared.bundle.manifest import Manifest

_C: Any = torch._C  # graphs are typed in no version of torch
_MEMORY_FORMATS: Mapping[str, int] = {"contiguous": 0, "channels_last": 2}
"""As TorchScript writes them."""


@contextmanager
def quiet() -> Iterator[None]:
    """TorchScript is deprecated in recent torch and the only engine old devices have: its warnings help nobody."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        yield


def joined(manifest: Manifest, graphs: Sequence[Any], way: Way) -> Any:
    """One graph from the network's inputs to its outputs (a tuple where there are several), by way of all segments."""
    whole = _C.Graph()
    values: Dict[str, Any] = {}
    images = len(manifest.input.shape) == 4
    for name in manifest.network_inputs:
        given = whole.addInput()
        given.setType(_C.TensorType.get())
        values[name] = _laid_out(whole, given, way) if images else given
    for segment, graph in zip(manifest.segments, graphs):
        made = whole.insertGraph(graph, [values[name] for name in segment.inputs])
        values.update(zip(segment.outputs, _unpacked(whole, made, len(segment.outputs))))
    for name in manifest.network_outputs:
        whole.registerOutput(values[name])
    return single_output(whole)


def _laid_out(graph: Any, value: Any, way: Way) -> Any:
    """The value with its images as the way has them in memory."""
    node = graph.create("aten::contiguous", [value, graph.insertConstant(_MEMORY_FORMATS[way.layout])], 1)
    node.output().setType(_C.TensorType.get())
    return graph.insertNode(node).output()


def _unpacked(graph: Any, made: Sequence[Any], count: int) -> Sequence[Any]:
    if len(made) == count:
        return made
    node = graph.create("prim::TupleUnpack", list(made), count)
    for output in node.outputs():
        output.setType(_C.TensorType.get())
    return list(graph.insertNode(node).outputs())


def single_output(graph: Any) -> Any:
    """The graph with all its outputs in one tuple where there are several, as a function returns them."""
    if len(list(graph.outputs())) > 1:
        graph.makeMultiOutputIntoTuple()
    return graph


def function_of(graph: Any) -> Any:
    """A graph as something that can be called."""
    return _C._create_function_from_graph("forward", graph)
