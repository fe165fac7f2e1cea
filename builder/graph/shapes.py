"""Runs on torch's meta device, whose tensors have shapes but no numbers: what a network would do costs no time to ask.

What looks at the data cannot run there; it runs with numbers, or what is known of its result is taken instead.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor, fx
from torch.func import functional_call

from legodnn.builder.graph.values import ValueFacts, facts_of, tensors_in

NEEDS_NUMBERS = (RuntimeError, NotImplementedError)
"""What torch raises on the meta device where it would have to look at the data."""


def without_numbers(value: Any) -> Any:
    """A value with every tensor in it on the meta device, and every device in it that one."""
    return fx.node.map_aggregate(value, _off_the_device)


def _off_the_device(item: Any) -> Any:
    if isinstance(item, Tensor):
        return item.to("meta")
    return torch.device("meta") if isinstance(item, torch.device) else item


def call_without_numbers(module: nn.Module, args: Sequence[Any], kwargs: dict[str, Any] | None = None) -> Any:
    """What ``module``, whose own weights stay where they are, returns for arguments on the meta device."""
    weights = {name: value.to("meta") for name, value in [*module.named_parameters(), *module.named_buffers()]}
    with torch.device("meta"):  # for the tensors it makes itself
        return functional_call(module, weights, tuple(args), kwargs)


class Noting(nn.Module):
    """A graph module that notes its nodes' facts while it runs."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__()
        self.graph_module = module

    def forward(self, *inputs: Tensor) -> Any:
        """What the graph module returns."""
        return _Interpreter(self.graph_module).run(*inputs)


def note_facts(module: fx.GraphModule, inputs: Sequence[Tensor]) -> None:
    """Store the facts of every node of ``module`` for example inputs anew."""
    with torch.no_grad():
        try:
            call_without_numbers(Noting(module), without_numbers(list(inputs)))
        except NEEDS_NUMBERS:
            Noting(module)(*inputs)


class _Interpreter(fx.Interpreter):
    """What a module that looks at the data would make of tensors without numbers is taken from the facts known."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.known: dict[fx.Node, ValueFacts | None] = {n: n.meta.get("value") for n in module.graph.nodes}

    def fetch_args_kwargs_from_env(self, n: fx.Node) -> Any:
        given = super().fetch_args_kwargs_from_env(n)
        others = [x.is_meta for i in n.all_input_nodes for x in tensors_in(self.env[i])]
        return without_numbers(given) if any(others) else given  # constants of the graph still have numbers

    def run_node(self, n: fx.Node) -> Any:
        if n.target is operator.getitem and any(isinstance(self.env[i], _Parts) for i in n.all_input_nodes):
            return self._imagined(n)
        try:
            value = super().run_node(n)
        except NEEDS_NUMBERS:
            if n.op != "call_module" or not all(self._as_known(i) for i in n.all_input_nodes):
                raise
            return self._imagined(n)
        n.meta["value"] = facts_of(value)
        return value

    def _as_known(self, node: fx.Node) -> bool:
        """Whether a value is without numbers and as the facts have it."""
        return all(x.is_meta for x in tensors_in(self.env[node])) and facts_of(self.env[node]) == self.known[node]

    def _imagined(self, node: fx.Node) -> Any:
        known = self.known[node]
        if known is None:
            raise NotImplementedError(f"nothing is known of '{node.name}'")
        return torch.empty(known.shape, dtype=known.dtype, device="meta") if known.is_tensor else _Parts()


class _Parts:
    """The result, not a tensor, of a module that was not run."""
