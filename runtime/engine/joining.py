"""The programs of segments joined into one.

A program is a TorchScript graph whose weights are constants. The joined graph shares these constants with those of the
segments; no weight is copied.
"""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import Any, Dict, Iterator, Mapping, Sequence

import torch

from legodnn.runtime.engine.backend import Backend
from legodnn.shared.bundle.manifest import Manifest

_C: Any = torch._C  # graphs are typed in no version of torch
_MEMORY_FORMATS: Mapping[str, int] = {"contiguous": 0, "channels_last": 2}
"""TorchScript's numbers of memory formats."""


@contextmanager
def quiet() -> Iterator[None]:
    """A context without gradients and without warnings: recent torch deprecates TorchScript, old devices need it."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        yield


def joined(manifest: Manifest, graphs: Sequence[Any], backend: Backend) -> Any:
    """One graph from the network's inputs to its outputs (a tuple where there are several), through all segments."""
    whole = _C.Graph()
    values: Dict[str, Any] = {}
    images = len(manifest.input.shape) == 4
    for name in manifest.network_inputs:
        given = whole.addInput()
        given.setType(_C.TensorType.get())
        values[name] = _laid_out(whole, given, backend) if images else given
    for segment, graph in zip(manifest.segments, graphs):
        made = whole.insertGraph(graph, [values[name] for name in segment.inputs])
        values.update(zip(segment.outputs, _unpacked(whole, made, len(segment.outputs))))
    for name in manifest.network_outputs:
        whole.registerOutput(values[name])
    return single_output(whole)


def _laid_out(graph: Any, value: Any, backend: Backend) -> Any:
    """The value with its images in the backend's memory layout."""
    node = graph.create("aten::contiguous", [value, graph.insertConstant(_MEMORY_FORMATS[backend.layout])], 1)
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
    """The graph, with its outputs in one tuple where there are several, as functions need it."""
    if len(list(graph.outputs())) > 1:
        graph.makeMultiOutputIntoTuple()
    return graph


def function_of(graph: Any) -> Any:
    """A graph as a callable function."""
    return _C._create_function_from_graph("forward", graph)
