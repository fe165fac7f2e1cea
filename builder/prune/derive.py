"""Structured pruning: a block without some of its inner channels.

Coupled channels are pruned together, by one importance. The descendant is *built* smaller, so that it needs no masks
and no special runtime.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn as nn
from torch import Tensor, fx

from legodnn.builder.graph.channels.map import ChannelMap, Literal
from legodnn.builder.graph.layers import CONVOLUTIONS, TRANSPOSED
from legodnn.builder.prune.importance import Importance, importance_of
from legodnn.shared.errors import UsageError

Ids = npt.NDArray[np.int64]

Place = tuple[str, str, int]
"""Where indices were kept: layer, parameter, axis."""


def kept_count(total: int, sparsity: float, round_to: int = 8) -> int:
    """Channels kept of ``total``: at least one; a multiple of ``round_to`` where that moves the count by at most a
    tenth of ``total``, a share that is not tuned."""
    kept = max(1, total - math.floor(total * sparsity + 1e-9))
    rounded = max(round_to, round_to * math.floor(kept / round_to + 0.5))
    return rounded if rounded < total and abs(rounded - kept) <= 0.1 * total else kept


@dataclass(frozen=True)
class Descendant:
    """A smaller block, and which indices of each shrunken tensor it kept, by (layer, parameter, axis)."""

    module: fx.GraphModule
    kept: dict[Place, Tensor]


def derive(
    block: fx.GraphModule,
    channels: ChannelMap,
    sparsity: float,
    *,
    importance: str | Importance = "l2",
    round_to: int = 8,
) -> Descendant:
    """A descendant of ``block`` without a share ``sparsity`` of the prunable channels of every channel group.

    ``channels`` is the analysis of this very ``block``, which is not changed; the metadata of the result's nodes is
    still the block's. Kept counts of channels are rounded as `kept_count` says, those of attention heads are not.
    Raises `UsageError` for a sparsity outside [0, 1) or an unknown importance.
    """
    if not 0 <= sparsity < 1:
        raise UsageError(f"sparsity {sparsity} is outside 0 <= s < 1")
    return _built(block, channels, _removed_roots(channels, sparsity, importance_of(importance), round_to))


def rebuild(block: fx.GraphModule, channels: ChannelMap, kept: Mapping[Place, Tensor]) -> Descendant:
    """The descendant of ``block`` that kept these indices, with the block's weights: as `derive` made it, but channels
    are not ranked again. Raises `UsageError` where the indices are not those of a descendant of this block."""
    removed: set[int] = set()
    for key, index in kept.items():
        ids = channels.slices[key].ids if key in channels.slices else np.zeros(0, dtype=np.int64)
        if not 0 < len(index) < len(ids) or int(index.min()) < 0 or int(index.max()) >= len(ids):
            raise UsageError(f"a descendant that kept indices of {'.'.join(key[:2])} is not one of this block")
        removed.update(channels.roots(np.delete(ids, index.cpu().numpy())).tolist())
    made = _built(block, channels, removed)
    same = made.kept.keys() == kept.keys() and all(torch.equal(made.kept[k], kept[k].cpu()) for k in kept)
    if not same:
        raise UsageError("the indices a descendant kept are not those of one of this block: coupled channels differ")
    return made


def _built(block: fx.GraphModule, channels: ChannelMap, removed: set[int]) -> Descendant:
    """The descendant without the channels that have these roots."""
    indices: dict[Place, Tensor] = {}
    for key, piece in channels.slices.items():
        kept = kept_of(channels, piece.ids, removed)
        if not kept.all():
            indices[key] = torch.from_numpy(np.flatnonzero(kept))
    descendant = copy.deepcopy(block, _shrunken(block, indices))
    for literal in channels.literals:
        _rewrite(descendant, literal, _kept_along(channels, literal, removed))
    for (owner, attribute), ids in channels.described.items():
        _redescribe(descendant.get_submodule(owner), attribute, int(kept_of(channels, ids, removed).sum()))
    for name in {piece.owner for piece in channels.slices.values()}:
        _settle(descendant.get_submodule(name), block.get_submodule(name), name in channels.regrouped)
    descendant.recompile()
    return Descendant(descendant, indices)


def _removed_roots(channels: ChannelMap, sparsity: float, importance: Importance, round_to: int) -> set[int]:
    removed: set[int] = set()
    wholes = _wholes(channels)
    heads = {root for ids in channels.heads for root in np.unique(channels.roots(ids)).tolist()}
    for group in channels.groups():
        if len(group.prunable) < 2:
            continue
        order = np.argsort(-importance(channels, group), kind="stable")
        best = group.prunable[order].tolist()
        needed = _needed(best, wholes)
        keep = kept_count(len(best), sparsity, 1 if heads.issuperset(best) else round_to) - len(needed)
        others = [root for root in best if root not in needed]
        removed.update(others[max(0, keep) :])
    return removed


def _wholes(channels: ChannelMap) -> list[frozenset[int]]:
    """The roots of the channels of every value and of every layer's tensor, of each of which one must be left; the
    smallest sets first."""
    ids = [tag.ids for tag in channels.tags.values()] + [piece.ids for piece in channels.slices.values()]
    return sorted({frozenset(np.unique(channels.roots(i)).tolist()) for i in ids}, key=lambda w: (len(w), sorted(w)))


def _needed(best: list[int], wholes: list[frozenset[int]]) -> set[int]:
    """The roots among a group's prunable ones, ``best`` first, that must be kept so that no value and no layer loses
    all its channels."""
    needed: set[int] = set()
    members = set(best)
    for whole in wholes:
        if whole <= members and needed.isdisjoint(whole):
            needed.add(next(root for root in best if root in whole))
    return needed


def kept_of(channels: ChannelMap, ids: Ids, removed: set[int]) -> npt.NDArray[np.bool_]:
    """For each of the channels ``ids``, of any shape, whether its root is not among those ``removed``."""
    return ~np.isin(channels.roots(ids), list(removed))


def _kept_along(channels: ChannelMap, literal: Literal, removed: set[int]) -> int:
    """How many indices along the literal's axis have a channel left."""
    kept = np.moveaxis(kept_of(channels, literal.ids, removed), literal.axis, 0)
    return int(kept.reshape(len(kept), -1).any(1).sum())


def _shrunken(block: nn.Module, indices: Mapping[Place, Tensor]) -> dict[int, Any]:
    """The shrunken tensors by the ``id`` of the originals, as the memo of a deep copy: the originals are never copied
    whole."""
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
    """Make a layer's attributes agree with its tensors; ``regrouped`` convolutions have lost whole groups."""
    if isinstance(layer, CONVOLUTIONS):
        if regrouped:
            layer.groups = layer.weight.shape[0] * original.groups // original.out_channels
        layer.out_channels, layer.in_channels = layer.weight.shape[0], layer.weight.shape[1] * layer.groups
    elif isinstance(layer, TRANSPOSED):
        if regrouped:
            layer.groups = layer.weight.shape[0] * original.groups // original.in_channels
        layer.in_channels, layer.out_channels = layer.weight.shape[0], layer.weight.shape[1] * layer.groups
    elif isinstance(layer, nn.Linear):
        layer.out_features, layer.in_features = layer.weight.shape
