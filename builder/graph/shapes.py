"""Runs on torch's meta device, whose tensors have shapes but no values, so that nothing is computed.

A module that reads the data cannot run there; it runs on values, or the stored metadata stands for its result.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor, fx
from torch.func import functional_call

from legodnn.builder.graph.values import ValueMetadata, metadata_of, tensors_in

NEEDS_VALUES = (RuntimeError, NotImplementedError)
"""The exceptions that torch raises on the meta device where an operation reads the data."""

MEMORY = "memory"
"""The key of a node's ``meta`` that holds a number for the memory of each of its tensors, and the bytes of that."""


def to_meta(value: Any) -> Any:
    """A value with every tensor in it moved to the meta device, and every device in it replaced by that one."""
    return fx.node.map_aggregate(value, _off_the_device)


def _off_the_device(item: Any) -> Any:
    if isinstance(item, Tensor):
        return item.to("meta")
    return torch.device("meta") if isinstance(item, torch.device) else item


def call_on_meta(module: nn.Module, args: Sequence[Any], kwargs: dict[str, Any] | None = None) -> Any:
    """The result of ``module`` for arguments on the meta device, with copies of its weights there. Raises one of
    `NEEDS_VALUES` where it reads the data."""
    weights = {name: value.to("meta") for name, value in [*module.named_parameters(), *module.named_buffers()]}
    with torch.device("meta"):  # for tensors it creates
        return functional_call(module, weights, tuple(args), kwargs)


def _memory_of(tensor: Tensor) -> Any:
    """What tells a tensor's memory from that of others that are alive."""
    return tensor.untyped_storage()._cdata


class Noting(nn.Module):
    """A graph module that stores its nodes' metadata, and which of them share memory, while it runs."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__()
        self.graph_module = module

    def forward(self, *inputs: Tensor) -> Any:
        """The result of the graph module."""
        return _Interpreter(self.graph_module).run(*inputs)


def note_metadata(module: fx.GraphModule, inputs: Sequence[Tensor]) -> None:
    """Store the metadata of every node of ``module`` for example inputs, replacing what is there."""
    with torch.no_grad():
        try:
            call_on_meta(Noting(module), to_meta(list(inputs)))
        except NEEDS_VALUES:
            Noting(module)(*inputs)


class _Interpreter(fx.Interpreter):
    """Stores metadata; the result of a module that cannot run on the meta device is made from the metadata known."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.known: dict[fx.Node, ValueMetadata | None] = {n: n.meta.get("value") for n in module.graph.nodes}
        self.memories = 0

    def fetch_args_kwargs_from_env(self, n: fx.Node) -> Any:
        given = super().fetch_args_kwargs_from_env(n)
        others = [x.is_meta for i in n.all_input_nodes for x in tensors_in(self.env[i])]
        return to_meta(given) if any(others) else given  # constants of the graph are still on their device

    def run_node(self, n: fx.Node) -> Any:
        if n.target is operator.getitem and any(isinstance(self.env[i], _Parts) for i in n.all_input_nodes):
            value = self._imagined(n)
            self._note_memory(n, value)
            return value
        try:
            value = super().run_node(n)
        except NEEDS_VALUES:
            if n.op != "call_module" or not all(self._as_known(i) for i in n.all_input_nodes):
                raise
            value = self._imagined(n)
            self._note_memory(n, value)
            return value
        n.meta["value"] = metadata_of(value)
        self._note_memory(n, value)
        return value

    def _note_memory(self, node: fx.Node, value: Any) -> None:
        """Number the memory of a node's tensors; views of what the node reads have the number of that."""
        known = {}
        for source in node.all_input_nodes:
            numbers = source.meta.get(MEMORY, ())
            for tensor, (number, _) in zip(tensors_in(self.env[source]), numbers, strict=False):
                known[_memory_of(tensor)] = number
        found = []
        for tensor in tensors_in(value):
            if _memory_of(tensor) not in known:
                known[_memory_of(tensor)] = self.memories
                self.memories += 1
            whole = node.op != "placeholder"  # an input may be part of a larger tensor
            size = tensor.untyped_storage().nbytes() if whole else tensor.numel() * tensor.element_size()
            found.append((known[_memory_of(tensor)], size))
        node.meta[MEMORY] = tuple(found)

    def _as_known(self, node: fx.Node) -> bool:
        """Whether a value is on the meta device and as its metadata says."""
        return all(x.is_meta for x in tensors_in(self.env[node])) and metadata_of(self.env[node]) == self.known[node]

    def _imagined(self, node: fx.Node) -> Any:
        known = self.known[node]
        if known is None:
            raise NotImplementedError(f"nothing is known of '{node.name}'")
        return torch.empty(known.shape, dtype=known.dtype, device="meta") if known.is_tensor else _Parts()


class _Parts:
    """The result of a module that was not run, where it is no tensor."""
