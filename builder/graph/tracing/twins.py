"""The second batch size a network is followed at, on tensors that have shapes but no numbers.

It is there to tell what is the batch size's doing; nobody reads its numbers. Where a call cannot do without, it gets
some: the first batch's, repeated in their order to the size that is wanted.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor, fx

from legodnn.builder.graph.shapes import call_without_numbers, without_numbers
from legodnn.builder.graph.tracing.state import restored
from legodnn.builder.graph.values import tensors_in

Call = tuple[tuple[Any, ...], dict[str, Any]]
"""Positional arguments and those by name."""

ABOUT_THE_DEVICE = frozenset("device is_cpu is_cuda is_mps is_xpu is_meta get_device type".split())
"""What a tensor without numbers would answer for itself; the first batch answers for it."""


def twin_of(function: Callable[..., Any], first: Call, second: Call) -> Any:
    """What ``function``, or a module, makes of the second batch, without numbers."""
    args, kwargs = without_numbers(second)
    try:
        if isinstance(function, nn.Module):
            found = _call_module(function, args, kwargs)
        else:
            with torch.device("meta"):
                found = function(*args, **kwargs)
    except Exception:  # with numbers it works, or fails for the right reason
        args, kwargs = with_numbers(first, second)
        found = function(*args, **kwargs)
    return without_numbers(found)


def _call_module(module: nn.Module, args: Any, kwargs: Any) -> Any:
    ours = type(module).__module__.startswith("torch.nn.")
    with contextlib.nullcontext() if ours else restored(module):  # what it keeps for later must have numbers
        return call_without_numbers(module, args, kwargs)


def with_numbers(first: Call, second: Call) -> Call:
    """The second batch's arguments with numbers.

    One item more than the first, the same as its first item, is what the second batch is made of; repeating the numbers
    gives just that wherever the batch comes first.
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
