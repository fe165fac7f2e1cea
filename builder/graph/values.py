"""What is known of the values that flow through a traced graph."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

DECIDES = "decides"
"""The key of a node's ``meta`` that marks a call of an `Opaque` that decides."""


@dataclass(frozen=True)
class ValueFacts:
    """What is known of a node's value: a tensor's shape and dtype, or whether it holds tensors at all."""

    is_tensor: bool
    holds_tensors: bool
    shape: tuple[int, ...] = ()
    dtype: torch.dtype | None = None

    @property
    def bytes(self) -> int:
        """Bytes of the tensor; 0 where the value is none."""
        if not self.is_tensor or self.dtype is None:
            return 0
        return int(torch.Size(self.shape).numel()) * torch.empty(0, dtype=self.dtype).element_size()


def facts(node: fx.Node) -> ValueFacts:
    """The facts that `trace` stored with a node."""
    found: ValueFacts = node.meta["value"]
    return found


def facts_of(value: Any) -> ValueFacts:
    """The facts of a value."""
    if isinstance(value, Tensor):
        return ValueFacts(True, True, tuple(value.shape), value.dtype)
    return ValueFacts(False, bool(tensors_in(value)))


def tensors_in(value: Any) -> list[Tensor]:
    """All tensors in a value, containers opened."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Mapping):
        value = list(value.values())
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = [getattr(value, field.name) for field in dataclasses.fields(value)]
    if isinstance(value, (list, tuple)) and not isinstance(value, torch.Size):
        return [t for item in value for t in tensors_in(item)]
    return []


def decides(node: fx.Node) -> bool:
    """Whether a small change of what a node reads can change its value in any way: it chooses."""
    return bool(node.meta.get(DECIDES, False))


def home(node: fx.Node) -> str:
    """The name of the network's module in whose forward a node comes about; empty for the network's own."""
    return str(node.meta.get("module", ""))


def place(node: fx.Node) -> str:
    """Where in the network's own code a node comes from, as ``file.py:line``; empty where it is not known."""
    return str(node.meta.get("source", ""))
