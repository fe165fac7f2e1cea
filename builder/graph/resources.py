"""The resources a part of a network takes: parameters, bytes, floating-point operations, activations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor, fx
from torch.utils.flop_counter import FlopCounterMode

from legodnn.builder.graph.shapes import MEMORY, NEEDS_VALUES, Noting, call_on_meta, to_meta
from legodnn.builder.graph.tracing.state import restored
from legodnn.builder.graph.values import metadata


@dataclass(frozen=True)
class Resources:
    """``flops`` counts a multiplication and an addition as two; ``activation_bytes`` is the peak of live tensors, the
    inputs included; views count with what they are views of."""

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


def peak_activation_bytes(module: fx.GraphModule, views: bool = True) -> int:
    """The largest sum of bytes of tensors alive at once while the graph runs node by node, inputs included.

    A view takes no memory of its own, but keeps alive what it is a view of; where the graph has not been measured, or
    without ``views``, every value counts as if it had its own.
    """
    nodes = list(module.graph.nodes)
    memory = {node: _memory_of(node, views) for node in nodes}
    of_weights = {key for node in nodes if node.op == "get_attr" for key in memory[node]}
    last_use: dict[Any, int] = {}
    for i, node in enumerate(nodes):
        for user in (node, *node.all_input_nodes):
            last_use.update(dict.fromkeys(memory[user], i))
    held: dict[Any, int] = {}
    peak = 0
    for i, node in enumerate(nodes):
        for key, size in memory[node].items():
            if key not in of_weights:
                held.setdefault(key, size)
        peak = max(peak, sum(held.values()))
        held = {key: size for key, size in held.items() if last_use[key] > i}
    return peak


def _memory_of(node: fx.Node, views: bool) -> dict[Any, int]:
    """Bytes by what tells the memory of a node's tensors from that of others."""
    if node.op == "output":
        return {}
    if views and MEMORY in node.meta:
        return dict(node.meta[MEMORY])
    return {node: metadata(node).bytes}
