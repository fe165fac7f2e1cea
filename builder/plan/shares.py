"""How many parameters of every layer of a block are prunable."""

from __future__ import annotations

from dataclasses import dataclass

from legodnn.builder.graph.channels.map import ChannelMap
from legodnn.builder.prune.derive import kept_of


@dataclass(frozen=True)
class LayerShare:
    """A layer's parameters, and how many of them belong to prunable channels."""

    parameters: int
    removable: int


def layer_shares(channels: ChannelMap) -> dict[str, LayerShare]:
    """The `LayerShare` of every module of a block that has parameters itself, by name."""
    prunable = {int(root) for group in channels.groups() if len(group.prunable) > 1 for root in group.prunable}
    kept: dict[tuple[str, str], float] = {}
    for piece in channels.slices.values():
        key = (piece.owner, piece.parameter)
        kept[key] = kept.get(key, 1.0) * float(kept_of(channels, piece.ids, prunable).mean())
    shares: dict[str, LayerShare] = {}
    for name, module in channels.module.named_modules():
        sizes = {(name, parameter): value.numel() for parameter, value in module.named_parameters(recurse=False)}
        if sizes:
            gone = sum(round(size * (1 - kept.get(key, 1.0))) for key, size in sizes.items())
            shares[name] = LayerShare(sum(sizes.values()), gone)
    return shares
