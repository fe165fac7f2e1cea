"""The metadata of the values that flow through a traced graph: shape, dtype, where they come from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

DATA_DEPENDENT = "data_dependent"
"""The key of a node's ``meta`` that marks a data-dependent selection, see `Opaque`."""


@dataclass(frozen=True)
class ValueMetadata:
    """A value's metadata: shape and dtype of a tensor; of anything else, whether it contains tensors."""

    is_tensor: bool
    holds_tensors: bool
    shape: tuple[int, ...] = ()
    dtype: torch.dtype | None = None

    @property
    def bytes(self) -> int:
        """Bytes of the tensor; 0 where the value is not one."""
        if not self.is_tensor or self.dtype is None:
            return 0
        return int(torch.Size(self.shape).numel()) * torch.empty(0, dtype=self.dtype).element_size()


def metadata(node: fx.Node) -> ValueMetadata:
    """The metadata that `trace` stored with a node's value."""
    found: ValueMetadata = node.meta["value"]
    return found


def metadata_of(value: Any) -> ValueMetadata:
    """The metadata of a value."""
    if isinstance(value, Tensor):
        return ValueMetadata(True, True, tuple(value.shape), value.dtype)
    return ValueMetadata(False, bool(tensors_in(value)))


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


def is_data_dependent(node: fx.Node) -> bool:
    """Whether a node makes a data-dependent selection: a small change of what it reads can change its value by any
    amount."""
    return bool(node.meta.get(DATA_DEPENDENT, False))


def module_path(node: fx.Node) -> str:
    """The path of the module in whose forward a node was recorded, as in ``layer1.0``; empty for the network itself."""
    return str(node.meta.get("module", ""))


def source_line(node: fx.Node) -> str:
    """The line of the network's source that a node was recorded at, ``file.py:line``; empty where it is not known."""
    return str(node.meta.get("source", ""))
