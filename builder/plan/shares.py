"""What could go of every layer of a block."""

from __future__ import annotations

from dataclasses import dataclass

from legodnn.builder.graph.channels.map import ChannelMap
from legodnn.builder.prune.derive import kept_of


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
        stays[key] = stays.get(key, 1.0) * float(kept_of(channels, piece.ids, may_go).mean())
    shares: dict[str, LayerShare] = {}
    for name, module in channels.module.named_modules():
        sizes = {(name, parameter): value.numel() for parameter, value in module.named_parameters(recurse=False)}
        if sizes:
            gone = sum(round(size * (1 - stays.get(key, 1.0))) for key, size in sizes.items())
            shares[name] = LayerShare(sum(sizes.values()), gone)
    return shares
