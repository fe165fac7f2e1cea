"""Importance: a score for every set of coupled channels; those with the lowest are pruned."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from legodnn.builder.graph.channels.map import ChannelGroup, ChannelMap, tensor_of
from legodnn.shared.errors import UsageError

Scores = npt.NDArray[np.float64]
Importance = Callable[[ChannelMap, ChannelGroup], Scores]

SUMMED_AT_ONCE = 1 << 20
"""Weights whose squares are summed in one go: their copy in double precision takes 8 MiB. Not tuned."""


def _squared_norms(channels: ChannelMap, group: ChannelGroup, roles: tuple[str, ...]) -> Scores:
    """For each prunable set of coupled channels of the group, float64 (p,): the sum of squares of the weights with
    these roles that would be pruned with it."""
    total = np.zeros(len(group.prunable))
    for piece in channels.slices.values():
        if piece.role not in roles or piece.parameter != "weight":
            continue
        roots = channels.roots(piece.ids)
        rows = np.searchsorted(group.prunable, roots).clip(max=len(total) - 1)
        goes = group.prunable[rows] == roots
        if goes.any():
            norms = _squares_along(tensor_of(channels.module, piece).detach(), piece.axis).cpu().numpy()
            np.add.at(total, rows[goes], norms[goes])
    return total


def _squares_along(value: Tensor, axis: int) -> Tensor:
    """The sum of squares at each index along ``axis``, in double precision without a copy of the whole."""
    others = [i for i in range(value.dim()) if i != axis]
    total = torch.zeros(value.shape[axis], dtype=torch.float64, device=value.device)
    parts = torch.split(value, max(1, SUMMED_AT_ONCE * len(value) // max(1, value.numel())))
    places = torch.split(total, len(parts[0])) if axis == 0 else [total] * len(parts)
    for part, place in zip(parts, places, strict=True):
        squares = part.double().square()
        place += squares.sum(others) if others else squares
    return total


def l2(channels: ChannelMap, group: ChannelGroup) -> Scores:
    """For each prunable set of coupled channels, float64 (p,): the L2 norm of all weights that would be pruned with
    it."""
    return np.sqrt(_squared_norms(channels, group, ("out", "in", "carry")))


def throughput(channels: ChannelMap, group: ChannelGroup) -> Scores:
    """For each prunable set of coupled channels, float64 (p,): the norm of the filters that make it times the norm of
    the weights that read it; the former alone where nothing reads it."""
    made = _squared_norms(channels, group, ("out",))
    read = _squared_norms(channels, group, ("in",))
    return np.sqrt(made * read) if read.any() else np.sqrt(made)


IMPORTANCE: Mapping[str, Importance] = {"l2": l2, "throughput": throughput}


def importance_of(importance: str | Importance) -> Importance:
    """The function of a name in `IMPORTANCE`, or the function itself. Raises `UsageError` for an unknown name."""
    if callable(importance):
        return importance
    if importance not in IMPORTANCE:
        raise UsageError(f"importance '{importance}' is not one of {', '.join(sorted(IMPORTANCE))}")
    return IMPORTANCE[importance]
