"""What a piece of a network costs: parameters, bytes, floating-point operations, activations."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor, fx
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from legodnn.builder.graph.values import facts, facts_of, tensors_in


@dataclass(frozen=True)
class Costs:
    """``flops`` counts a multiplication and an addition as two; ``activation_bytes`` is the peak of live tensors."""

    parameters: int
    weight_bytes: int
    flops: int
    activation_bytes: int


def weights(module: nn.Module) -> dict[int, Tensor]:
    """Parameters and buffers, each tensor once."""
    return {id(t): t for t in [*module.parameters(), *module.buffers()]}


def weight_bytes(module: nn.Module) -> int:
    """Bytes of all parameters and buffers."""
    return sum(t.numel() * t.element_size() for t in weights(module).values())


def count_flops(module: nn.Module, inputs: Sequence[Tensor]) -> int:
    """Floating-point operations of one run on ``inputs``, as counted by torch."""
    try:
        return _counted(_Weightless(module), [x.to("meta") for x in inputs])
    except (RuntimeError, NotImplementedError):  # something in it looks at the data, so it must have some
        return _counted(module, inputs)


def _counted(module: nn.Module, inputs: Sequence[Tensor]) -> int:
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        module(*inputs)
    return int(counter.get_total_flops())


class _Weightless(nn.Module):
    """Runs a module on tensors that have shapes but no numbers: it costs no time to count what it would do."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.inner = module

    def forward(self, *inputs: Tensor) -> Any:
        """What the module returns, without numbers."""
        weights = dict([*self.inner.named_parameters(), *self.inner.named_buffers()])
        return functional_call(self.inner, {name: value.to("meta") for name, value in weights.items()}, inputs)


class _Noting(nn.Module):
    """A graph module that notes its nodes' facts while it runs."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__()
        self.graph_module = module

    def forward(self, *inputs: Tensor) -> Any:
        """What the graph module returns."""
        return _FactsInterpreter(self.graph_module).run(*inputs)


class _FactsInterpreter(fx.Interpreter):
    """What a module that looks at the data would make of tensors without numbers is taken from the facts known."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.known = {node: facts(node) for node in module.graph.nodes if node.op != "output"}

    def run_node(self, n: fx.Node) -> Any:
        if n.target is operator.getitem and any(isinstance(self.env[i], _Parts) for i in n.all_input_nodes):
            return self._imagined(n)
        try:
            value = super().run_node(n)
        except (RuntimeError, NotImplementedError):
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
        return torch.empty(known.shape, dtype=known.dtype, device="meta") if known.is_tensor else _Parts()


class _Parts:
    """The result, not a tensor, of a module that was not run."""


def measure(module: fx.GraphModule, inputs: Sequence[Tensor]) -> Costs:
    """The costs of a segment on example inputs; its nodes' facts are brought up to date on the way."""
    flops = count_flops(_Noting(module), inputs)
    return Costs(
        parameters=sum(p.numel() for p in module.parameters()),
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
            alive += facts(node).bytes
            peak = max(peak, alive)
        for source in node.all_input_nodes:
            if last_use[source] == i and source.op != "get_attr":
                alive -= facts(source).bytes
    return peak
