"""The second batch size a network is traced at, on the meta device.

It shows which sizes depend on the batch size; nothing reads its values. Where a call needs values, it gets those of the
first batch, repeated in their order to the size needed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor, fx

from legodnn.builder.graph.shapes import call_on_meta, to_meta
from legodnn.builder.graph.tracing.state import restored
from legodnn.builder.graph.values import tensors_in

Call = tuple[tuple[Any, ...], dict[str, Any]]
"""Positional arguments and those by name."""

ABOUT_THE_DEVICE = frozenset("device is_cpu is_cuda is_mps is_xpu is_meta get_device type".split())
"""Attributes in which a tensor on the meta device differs; they are taken from the first batch."""


def twin_of(function: Callable[..., Any], first: Call, second: Call) -> Any:
    """The result of ``function``, or of a module, for the second batch, on the meta device."""
    args, kwargs = to_meta(second)
    try:
        if isinstance(function, nn.Module):
            found = _call_module(function, args, kwargs)
        else:
            with torch.device("meta"):
                found = function(*args, **kwargs)
    except Exception:  # with values it works, or fails for a reason of its own
        args, kwargs = with_values(first, second)
        found = function(*args, **kwargs)
    return to_meta(found)


def _call_module(module: nn.Module, args: Any, kwargs: Any) -> Any:
    ours = type(module).__module__.startswith("torch.nn.")
    with contextlib.nullcontext() if ours else restored(module):  # what it caches must not be on the meta device
        return call_on_meta(module, args, kwargs)


def with_values(first: Call, second: Call) -> Call:
    """The second batch's arguments with values.

    The second batch is the first and its first item once more; repeating the values gives that wherever the batch is
    the first axis.
    """
    pairs = zip(tensors_in(list(second)), tensors_in(list(first)), strict=True)
    made = {id(twin): _repeated(model, twin.shape) if twin.is_meta else twin for twin, model in pairs}
    found: Call = fx.node.map_aggregate(second, lambda item: made.get(id(item), item))
    return found


def _repeated(model: Tensor, shape: torch.Size) -> Tensor:
    numbers = model.reshape(-1)
    if not numbers.numel():
        return model.new_zeros(shape)
    times = -(-shape.numel() // numbers.numel())
    return numbers.repeat(times)[: shape.numel()].reshape(shape)
