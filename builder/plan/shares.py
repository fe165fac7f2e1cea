"""How many parameters of every layer of a block, and of the whole network, are prunable."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import fx

from legodnn.builder.graph.channels.map import ChannelMap, weight_name
from legodnn.builder.prune.derive import kept_of


@dataclass(frozen=True)
class LayerShare:
    """A layer's parameters, and how many of them belong to prunable channels."""

    parameters: int
    removable: int


def layer_shares(channels: ChannelMap) -> dict[str, LayerShare]:
    """The `LayerShare` of every module of a block that has parameters itself, by name."""
    shares: dict[str, LayerShare] = {}
    for (owner, _), share in _tensor_shares(channels).items():
        before = shares.get(owner, LayerShare(0, 0))
        shares[owner] = LayerShare(before.parameters + share.parameters, before.removable + share.removable)
    return shares


def network_share(
    segments: Iterable[fx.GraphModule], channels: Iterable[ChannelMap], tied: Mapping[str, str]
) -> LayerShare:
    """The `LayerShare` of a whole network, in which every weight counts once: those of modules that several segments
    call, and those that were ``tied`` (see `untied`), as far as any of them is prunable."""
    sizes = {name: p.numel() for segment in segments for name, p in segment.named_parameters()}
    removable = {
        weight_name(*key): share.removable for piece in channels for key, share in _tensor_shares(piece).items()
    }
    most: dict[str, int] = {}
    for name in sizes:
        original = tied[name] if tied.get(name) in sizes else name
        most[original] = max(most.get(original, 0), removable.get(name, 0))
    return LayerShare(sum(sizes[name] for name in most), sum(most.values()))


def _tensor_shares(channels: ChannelMap) -> dict[tuple[str, str], LayerShare]:
    """The `LayerShare` of every parameter of a block, by the module it is in and its name there."""
    prunable = {int(root) for group in channels.groups() if len(group.prunable) > 1 for root in group.prunable}
    kept: dict[tuple[str, str], float] = {}
    for piece in channels.slices.values():
        key = (piece.owner, piece.parameter)
        kept[key] = kept.get(key, 1.0) * float(kept_of(channels, piece.ids, prunable).mean())
    shares: dict[tuple[str, str], LayerShare] = {}
    for owner, module in channels.module.named_modules():
        for name, value in module.named_parameters(recurse=False):
            size = value.numel()
            shares[owner, name] = LayerShare(size, round(size * (1 - kept.get((owner, name), 1.0))))
    return shares
