"""The resources a part of a network takes: parameters, bytes, floating-point operations, activations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor, fx
from torch.utils.flop_counter import FlopCounterMode

from legodnn.builder.graph.shapes import NEEDS_VALUES, Noting, call_on_meta, to_meta
from legodnn.builder.graph.tracing.state import restored
from legodnn.builder.graph.values import metadata


@dataclass(frozen=True)
class Resources:
    """``flops`` counts a multiplication and an addition as two; ``activation_bytes`` is the peak of live tensors, the
    inputs included."""

    parameters: int
    weight_bytes: int
    flops: int
    activation_bytes: int


def weights(module: nn.Module) -> dict[int, Tensor]:
    """Parameters and buffers by ``id``, each tensor once."""
    return {id(t): t for t in [*module.parameters(), *module.buffers()]}


def weight_bytes(module: nn.Module) -> int:
    """Bytes of all parameters and buffers; tensors that are the same memory count once."""
    found = {_memory(t): t for t in weights(module).values()}
    return sum(t.numel() * t.element_size() for t in found.values())


def parameter_count(module: nn.Module) -> int:
    """How many numbers the parameters are; those that are the same memory count once."""
    return sum({_memory(p): p.numel() for p in module.parameters()}.values())


def _memory(tensor: Tensor) -> tuple[int, ...]:
    """What tells a tensor's memory from others'; on the meta device, where there is none, the tensor itself."""
    return (tensor.data_ptr(), tensor.numel()) if tensor.data_ptr() else (id(tensor),)


def count_flops(module: nn.Module, inputs: Sequence[Tensor]) -> int:
    """Floating-point operations of one run on ``inputs``, as counted by torch; the module is left as it was."""
    with restored(module):
        try:
            return _counted(lambda: call_on_meta(module, to_meta(list(inputs))))
        except NEEDS_VALUES:
            return _counted(lambda: module(*inputs))


def _counted(run: Callable[[], Any]) -> int:
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        run()
    return int(counter.get_total_flops())


def measure(module: fx.GraphModule, inputs: Sequence[Tensor]) -> Resources:
    """The resources of a segment on example inputs; its nodes' metadata is replaced by that of these."""
    flops = count_flops(Noting(module), inputs)
    return Resources(
        parameters=parameter_count(module),
        weight_bytes=weight_bytes(module),
        flops=flops,
        activation_bytes=peak_activation_bytes(module),
    )


def peak_activation_bytes(module: fx.GraphModule) -> int:
    """The largest sum of bytes of tensors alive at once while the graph runs node by node, inputs included."""
    nodes = list(module.graph.nodes)
    last_use = {source: i for i, node in enumerate(nodes) for source in node.all_input_nodes}
    alive = peak = 0
    for i, node in enumerate(nodes):
        if node.op not in ("get_attr", "output"):
            alive += metadata(node).bytes
            peak = max(peak, alive)
        for source in node.all_input_nodes:
            if last_use[source] == i and source.op != "get_attr":
                alive -= metadata(source).bytes
    return peak
