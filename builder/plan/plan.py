"""The plan of a build, to be checked before any training starts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from torch import Tensor, fx

from legodnn.builder.graph import resources
from legodnn.builder.graph.channels.map import ChannelMap, Reason
from legodnn.builder.graph.segments import SegmentGraph, layers_of
from legodnn.builder.managers.abstract import AbstractModelManager
from legodnn.builder.plan.shares import LayerShare, layer_shares, network_share
from legodnn.builder.prune.derive import Descendant
from legodnn.builder.prune.groups import Group, pruning_groups


@dataclass(frozen=True)
class ModulePlan:
    """A module with layers of a block in it: how many, their parameters, how many of these are in prunable channels.
    ``name`` is the module's full name, ``depth`` its place in the block's tree."""

    name: str
    depth: int
    layers: int
    parameters: int
    removable_parameters: int


@dataclass(frozen=True)
class NotPrunable:
    """Channels that are not prunable: how many, which layers make them, and the `Reason`."""

    layers: tuple[str, ...]
    channels: int
    reason: Reason

    def to_plain(self) -> dict[str, Any]:
        """One flat table."""
        return {"layers": list(self.layers), "channels": self.channels, **asdict(self.reason)}


@dataclass(frozen=True)
class BlockPlan:
    """One block: its layers, what is prunable, what its smallest descendant has lost; ``flops`` are per inference,
    ``groups`` is empty unless asked for."""

    name: str
    layers: Sequence[str]
    modules: Sequence[ModulePlan]
    parameters: int
    flops: int
    removable_parameters: int
    removable_flops: int
    sparsities: Sequence[float]
    not_prunable: Sequence[NotPrunable]
    groups: Sequence[Group]

    @property
    def modules_removable(self) -> int:
        """The block's parameters that are in prunable channels."""
        return sum(module.removable_parameters for module in self.modules if module.depth == 0)

    @property
    def removable_share(self) -> float:
        """The share of the block's parameters its smallest descendant has lost."""
        return self.removable_parameters / self.parameters if self.parameters else 0.0

    @property
    def removable_flops_share(self) -> float:
        """The share of the block's operations its smallest descendant has lost."""
        return self.removable_flops / self.flops if self.flops else 0.0


@dataclass(frozen=True)
class Plan:
    """All blocks, the layers that are in none, and the network's size; a weight that several layers share counts once.

    ``removable_share`` is the share of the parameters that is in prunable channels, normalisations folded. ``opaque``
    are the modules that could not be traced, with the reason; ``not_prunable`` has all reasons in the network, those of
    the most channels first; ``metric`` is the name of what selections will be judged by.
    """

    blocks: Sequence[BlockPlan]
    trunk_layers: Sequence[str]
    parameters: int
    flops: int
    opaque: Mapping[str, str]
    trunk_not_prunable: Sequence[NotPrunable]
    removable_share: float
    metric: str = ""

    @property
    def not_prunable(self) -> list[NotPrunable]:
        """Channels in blocks and outside that are not prunable, one row for each reason."""
        return merged(row for rows in (self.trunk_not_prunable, *(b.not_prunable for b in self.blocks)) for row in rows)

    def to_plain(self) -> dict[str, Any]:
        """Dicts, lists, strings and numbers."""
        return {
            "metric": self.metric,
            "parameters": self.parameters,
            "flops": self.flops,
            "blocks": [_plain_block(block) for block in self.blocks],
            "trunk_layers": list(self.trunk_layers),
            "opaque": dict(self.opaque),
            "stays": [row.to_plain() for row in self.not_prunable],
        }


def _plain_block(block: BlockPlan) -> dict[str, Any]:
    return {
        **{name: value for name, value in vars(block).items() if name not in ("modules", "not_prunable", "groups")},
        "layers": list(block.layers),
        "removable_share": block.removable_share,
        "removable_flops_share": block.removable_flops_share,
        "modules": [asdict(module) for module in block.modules],
        "stays": [row.to_plain() for row in block.not_prunable],
        "groups": [group.to_plain() for group in block.groups],
    }


def merged(found: Iterable[NotPrunable]) -> list[NotPrunable]:
    """One row for each reason, with all its layers; the most channels first."""
    layers: dict[Reason, dict[str, None]] = {}
    channels: dict[Reason, int] = {}
    for row in found:
        layers.setdefault(row.reason, {}).update(dict.fromkeys(row.layers))
        channels[row.reason] = channels.get(row.reason, 0) + row.channels
    rows = [NotPrunable(tuple(layers[reason]), channels[reason], reason) for reason in layers]
    return sorted(rows, key=lambda row: -row.channels)


class CutTeacher(Protocol):
    """The attributes of a cut teacher that a plan is made from; `AutoBlockManager` has all of them."""

    teacher: fx.GraphModule
    samples: list[Tensor]
    graph: SegmentGraph
    folded: dict[str, fx.GraphModule]
    channels: dict[str, ChannelMap]
    model_manager: AbstractModelManager
    sparsities: list[float]

    @property
    def block_names(self) -> list[str]:
        """The blocks, in the order in which they run."""

    @property
    def descendant_names(self) -> list[str]:
        """The variants every block has beside the original, the mildest first."""

    def layers(self, segment: str) -> list[str]:
        """The convolutions and linear layers in a segment."""

    def example_inputs(self, segment: str) -> list[Tensor]:
        """Tensors of the shapes and types a segment reads."""

    def derive(self, block: str, variant: str) -> Descendant:
        """A descendant of a block, untrained."""


def make_plan(blocks: CutTeacher, groups: bool) -> Plan:
    """The plan of a teacher that has been cut; with the pruning groups of its blocks where ``groups``."""
    trunk = [n for s in blocks.graph.segments if not s.is_block for n in layers_of(blocks.teacher, s.nodes)]
    tied = blocks.teacher.meta["tied"]
    share = network_share(blocks.folded.values(), blocks.channels.values(), tied)
    sizes = {name: p.numel() for name, p in blocks.teacher.named_parameters()}
    return Plan(
        blocks=[_block_plan(blocks, name, groups) for name in blocks.block_names],
        trunk_layers=trunk,
        parameters=sum(size for name, size in sizes.items() if tied.get(name) not in sizes),
        flops=resources.measure(blocks.teacher, blocks.samples).flops,
        opaque=blocks.teacher.meta["opaque"],
        trunk_not_prunable=_trunk_not_prunable(blocks, trunk),
        removable_share=share.removable / max(1, share.parameters),
        metric=blocks.model_manager.metric,
    )


def _block_plan(blocks: CutTeacher, name: str, groups: bool) -> BlockPlan:
    original, inputs, channels = blocks.folded[name], blocks.example_inputs(name), blocks.channels[name]
    full = resources.measure(original, inputs)
    small = full
    if blocks.sparsities:
        small = resources.measure(blocks.derive(name, blocks.descendant_names[-1]).module, inputs)
    layers = blocks.layers(name)
    return BlockPlan(
        name=name,
        layers=layers,
        modules=module_tree(layers, layer_shares(channels)),
        parameters=full.parameters,
        flops=full.flops,
        removable_parameters=full.parameters - small.parameters,
        removable_flops=full.flops - small.flops,
        sparsities=[0.0, *blocks.sparsities],
        not_prunable=[
            NotPrunable(g.layers, n, reason) for g in channels.groups() for reason, n in g.not_prunable.items()
        ],
        groups=pruning_groups(channels) if groups else (),
    )


def _trunk_not_prunable(blocks: CutTeacher, layers: Sequence[str]) -> list[NotPrunable]:
    """Why the channels of ``layers``, which are in no block, are not pruned."""
    found = []
    for group in blocks.graph.channels.groups():
        made_here = tuple(name for name in group.layers if name in layers)
        others = [name for name in group.layers if name not in layers]
        if not made_here:
            continue
        found += [NotPrunable(made_here, n, _of_the_network(reason)) for reason, n in group.not_prunable.items()]
        if len(group.prunable):
            why = f"tied to the channels of {', '.join(others)}" if others else "no block reaches so far"
            found.append(NotPrunable(made_here, len(group.prunable), Reason(why)))
    return found


def _of_the_network(reason: Reason) -> Reason:
    return Reason(reason.why.replace("the block's", "the network's"), reason.operator, reason.module, reason.source)


def module_tree(layers: Sequence[str], shares: Mapping[str, LayerShare]) -> list[ModulePlan]:
    """The modules that ``layers`` (their full names) lie in and the layers themselves, each after what contains it.

    A module with a single module inside is not listed: its row would repeat the other's.
    """
    rows: list[ModulePlan] = []

    def add(prefix: tuple[str, ...], names: Sequence[tuple[str, ...]], depth: int) -> None:
        while names != [prefix] and len({name[len(prefix) : len(prefix) + 1] for name in names}) == 1:
            prefix = names[0][: len(prefix) + 1]
        if prefix:
            rows.append(_row(".".join(prefix), depth, len(names), shares))
            depth += 1
        if names != [prefix]:
            for child in dict.fromkeys(name[: len(prefix) + 1] for name in names):
                add(child, [name for name in names if name[: len(child)] == child], depth)

    add((), [tuple(name.split(".")) for name in layers], 0)
    return rows


def _row(name: str, depth: int, layers: int, shares: Mapping[str, LayerShare]) -> ModulePlan:
    inside = [share for owner, share in shares.items() if owner == name or owner.startswith(f"{name}.")]
    return ModulePlan(name, depth, layers, sum(s.parameters for s in inside), sum(s.removable for s in inside))
