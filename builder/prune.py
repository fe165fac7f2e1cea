"""Structured pruning: a block without some of its inner channels.

Channels that must go together are one class, and a class is judged as a whole. The descendant is *built* smaller, so
that it needs no masks and no special runtime.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn as nn
from torch import Tensor, fx

from legodnn.builder.graph.channels.map import ChannelMap, Family, Literal, tensor_of
from legodnn.shared.errors import UsageError

Ids = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]
Importance = Callable[[ChannelMap, Family], Scores]

SUMMED_AT_ONCE = 1 << 20
"""Weights whose squares are summed in one go."""


def _squared_norms(channels: ChannelMap, family: Family, roles: tuple[str, ...]) -> Scores:
    """For each class of the family: the sum of squares of the weights with these roles that would go with it."""
    total = np.zeros(len(family.classes))
    for piece in channels.slices.values():
        if piece.role not in roles or piece.parameter != "weight":
            continue
        roots = channels.roots(piece.ids)
        rows = np.searchsorted(family.classes, roots).clip(max=len(total) - 1)
        goes = family.classes[rows] == roots
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


def l2(channels: ChannelMap, family: Family) -> Scores:
    """The L2 norm of everything that would go with a class."""
    return np.sqrt(_squared_norms(channels, family, ("out", "in", "carry")))


def throughput(channels: ChannelMap, family: Family) -> Scores:
    """What a class can pass on: the norm of the filters that make it times the norm of the weights that read it."""
    made = _squared_norms(channels, family, ("out",))
    read = _squared_norms(channels, family, ("in",))
    return np.sqrt(made * read) if read.any() else np.sqrt(made)


IMPORTANCE: Mapping[str, Importance] = {"l2": l2, "throughput": throughput}


def kept_count(total: int, sparsity: float, round_to: int = 8) -> int:
    """Channels kept of ``total``: at least one; a multiple of ``round_to`` where that moves it by a tenth at most."""
    kept = max(1, total - math.floor(total * sparsity + 1e-9))
    rounded = max(round_to, round_to * math.floor(kept / round_to + 0.5))
    return rounded if rounded < total and abs(rounded - kept) <= 0.1 * total else kept


@dataclass(frozen=True)
class Descendant:
    """A smaller block, and which indices of each shrunken tensor it kept, by (layer, parameter, axis)."""

    module: fx.GraphModule
    kept: dict[tuple[str, str, int], Tensor]


def derive(
    block: fx.GraphModule,
    channels: ChannelMap,
    sparsity: float,
    *,
    importance: str | Importance = "l2",
    round_to: int = 8,
) -> Descendant:
    """A descendant of ``block`` without a share ``sparsity`` of the channels of every family.

    ``channels`` is the analysis of this very ``block``, which is left untouched; the facts of the result's nodes are
    still the block's. Raises `UsageError` for a sparsity outside [0, 1) or an unknown importance.
    """
    if not 0 <= sparsity < 1:
        raise UsageError(f"sparsity {sparsity} is outside 0 <= s < 1")
    removed = _removed_classes(channels, sparsity, _importance(importance), round_to)
    indices: dict[tuple[str, str, int], Tensor] = {}
    for key, piece in channels.slices.items():
        kept = _kept(channels, piece.ids, removed)
        if not kept.all():
            indices[key] = torch.from_numpy(np.flatnonzero(kept))
    descendant = copy.deepcopy(block, _shrunken(block, indices))
    for literal in channels.literals:
        _rewrite(descendant, literal, _kept_along(channels, literal, removed))
    for (owner, attribute), ids in channels.described.items():
        _redescribe(descendant.get_submodule(owner), attribute, int(_kept(channels, ids, removed).sum()))
    for name in {piece.owner for piece in channels.slices.values()}:
        _settle(descendant.get_submodule(name), block.get_submodule(name), name in channels.regrouped)
    descendant.recompile()
    return Descendant(descendant, indices)


@dataclass(frozen=True)
class LayerShare:
    """A layer's parameters, and how many of them belong to channels that may go."""

    parameters: int
    removable: int


def layer_shares(channels: ChannelMap) -> dict[str, LayerShare]:
    """For every module of a block that has parameters itself, by name, what could go of them."""
    may_go = {int(root) for family in channels.families() if len(family.classes) > 1 for root in family.classes}
    stays: dict[tuple[str, str], float] = {}
    for piece in channels.slices.values():
        key = (piece.owner, piece.parameter)
        stays[key] = stays.get(key, 1.0) * float(_kept(channels, piece.ids, may_go).mean())
    shares: dict[str, LayerShare] = {}
    for name, module in channels.module.named_modules():
        sizes = {(name, parameter): value.numel() for parameter, value in module.named_parameters(recurse=False)}
        if sizes:
            gone = sum(round(size * (1 - stays.get(key, 1.0))) for key, size in sizes.items())
            shares[name] = LayerShare(sum(sizes.values()), gone)
    return shares


def _importance(importance: str | Importance) -> Importance:
    if callable(importance):
        return importance
    if importance not in IMPORTANCE:
        raise UsageError(f"importance '{importance}' is not one of {', '.join(sorted(IMPORTANCE))}")
    return IMPORTANCE[importance]


def _removed_classes(channels: ChannelMap, sparsity: float, importance: Importance, round_to: int) -> set[int]:
    removed: set[int] = set()
    wholes = _wholes(channels)
    for family in channels.families():
        if len(family.classes) < 2:
            continue
        order = np.argsort(-importance(channels, family), kind="stable")
        best = family.classes[order].tolist()
        needed = _needed(best, wholes)
        keep = kept_count(len(best), sparsity, round_to) - len(needed)
        others = [root for root in best if root not in needed]
        removed.update(others[max(0, keep) :])
    return removed


def _wholes(channels: ChannelMap) -> list[frozenset[int]]:
    """The classes of every value and of every layer's tensor: something must be left of each."""
    ids = [tag.ids for tag in channels.tags.values()] + [piece.ids for piece in channels.slices.values()]
    return sorted({frozenset(np.unique(channels.roots(i)).tolist()) for i in ids}, key=lambda w: (len(w), sorted(w)))


def _needed(best: list[int], wholes: list[frozenset[int]]) -> set[int]:
    """Classes of a family (the best first) that must stay for no value and no layer to lose all its channels."""
    needed: set[int] = set()
    members = set(best)
    for whole in wholes:
        if whole <= members and needed.isdisjoint(whole):
            needed.add(next(root for root in best if root in whole))
    return needed


def _kept(channels: ChannelMap, ids: Ids, removed: set[int]) -> npt.NDArray[np.bool_]:
    return ~np.isin(channels.roots(ids), list(removed))


def _kept_along(channels: ChannelMap, literal: Literal, removed: set[int]) -> int:
    """How many indices along the literal's axis have a channel left."""
    kept = np.moveaxis(_kept(channels, literal.ids, removed), literal.axis, 0)
    return int(kept.reshape(len(kept), -1).any(1).sum())


def _shrunken(block: nn.Module, indices: Mapping[tuple[str, str, int], Tensor]) -> dict[int, Any]:
    """What a deep copy is to take for the block's tensors that shrink, by their ids: they are never copied whole."""
    originals: dict[int, Tensor] = {}
    smaller: dict[int, Tensor] = {}
    for (owner, parameter, axis), index in indices.items():
        value: Tensor = getattr(block.get_submodule(owner), parameter)
        originals[id(value)] = value
        smaller[id(value)] = smaller.get(id(value), value.detach()).index_select(axis, index.to(value.device))
    return {
        key: nn.Parameter(smaller[key], value.requires_grad) if isinstance(value, nn.Parameter) else smaller[key]
        for key, value in originals.items()
    }


def _rewrite(module: fx.GraphModule, literal: Literal, size: int) -> None:
    node = next(n for n in module.graph.nodes if n.name == literal.node)

    def replaced(value: Any, path: tuple[Any, ...]) -> Any:
        if not path:
            return size
        items = list(value)
        items[path[0]] = replaced(items[path[0]], path[1:])
        return tuple(items) if isinstance(value, tuple) else items

    first = literal.path[0]
    if isinstance(first, str):
        node.kwargs = {**node.kwargs, first: replaced(node.kwargs[first], literal.path[1:])}
    else:
        node.args = replaced(node.args, literal.path)


def _redescribe(layer: nn.Module, attribute: str, count: int) -> None:
    setattr(layer, attribute, (count,) if isinstance(getattr(layer, attribute), tuple) else count)


def _settle(layer: Any, original: Any, regrouped: bool) -> None:
    """Make a layer's own description agree with its tensors; ``regrouped`` convolutions have lost whole groups."""
    if isinstance(layer, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        if regrouped:
            layer.groups = layer.weight.shape[0] * original.groups // original.out_channels
        layer.out_channels, layer.in_channels = layer.weight.shape[0], layer.weight.shape[1] * layer.groups
    elif isinstance(layer, (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)):
        if regrouped:
            layer.groups = layer.weight.shape[0] * original.groups // original.in_channels
        layer.in_channels, layer.out_channels = layer.weight.shape[0], layer.weight.shape[1] * layer.groups
    elif isinstance(layer, nn.Linear):
        layer.out_features, layer.in_features = layer.weight.shape
