"""Which channels depend on each other, and which are prunable.

Every channel of every tensor has a number. An operation that makes new channels (a convolution's filters) hands out new
numbers; one that mixes two tensors channel by channel (an addition) makes their numbers equal; one that rearranges
(concatenation, chunk, flatten) rearranges them. Channels whose numbers are equal in the end are *coupled*: they are
pruned together or not at all. Sets of coupled channels made by the same layers form a *channel group*, the unit a
sparsity applies to. Channels that reach the graph's input or output, or an operation whose effect is not known, are not
prunable, and the map has the reason.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch.nn as nn
from torch import Tensor, fx

from legodnn.builder.graph.values import module_path, source_line

Ids = npt.NDArray[np.int64]

FOLLOWED_WEIGHT_ENTRIES = 1 << 18
"""Weights that are used outside layers are followed entry by entry up to this many entries: union-find over single
entries takes time and memory in proportion. Not tuned."""


@dataclass(frozen=True)
class Tag:
    """Where a tensor's channels lie: the index ``i, j, ...`` along ``axes`` belongs to channel ``ids[i, j, ...]``.

    Mostly one axis; several where a reshape has taken the channels apart (attention heads, groups).
    """

    axes: tuple[int, ...]
    ids: Ids

    @property
    def only_axis(self) -> int | None:
        """The axis, where there is one only."""
        return self.axes[0] if len(self.axes) == 1 else None


@dataclass(frozen=True)
class Slice:
    """A tensor of a layer that shrinks with its channels: index ``i`` along ``axis`` belongs to channel ``ids[i]``.

    ``role`` is "out" where the layer makes the channels, "in" where it consumes them, "carry" where it scales each.
    """

    owner: str
    parameter: str
    axis: int
    ids: Ids
    role: str


@dataclass(frozen=True)
class Literal:
    """A size written as a number into the graph (``x.view(-1, 512)``) that shrinks with ``axis`` of ``ids``.

    ``path`` leads to it through the node's arguments; it starts with a name where that argument is given by name.
    """

    node: str
    path: tuple[int | str, ...]
    ids: Ids
    axis: int = 0


@dataclass(frozen=True)
class Reason:
    """Why channels are not prunable and, where one operation is the reason, which one, in which module, at which source
    line."""

    why: str
    operator: str = ""
    module: str = ""
    source: str = ""

    def __str__(self) -> str:
        if not self.operator:
            return self.why
        inside = f" in {self.module}" if self.module else ""
        line = f" at {self.source}" if self.source else ""
        return f"{self.operator}{inside}{line}: {self.why}"


@dataclass(frozen=True)
class ChannelGroup:
    """Sets of coupled channels made by the same ``layers``: ``prunable`` lists the roots of those that can be pruned,
    int64 (p,), ``not_prunable`` counts the others by reason; ``nodes`` are those that read or make any of them."""

    prunable: Ids
    layers: tuple[str, ...]
    nodes: frozenset[fx.Node]
    not_prunable: Mapping[Reason, int]

    @property
    def protected(self) -> int:
        """How many sets of coupled channels are not prunable."""
        return sum(self.not_prunable.values())


class _UnionFind:
    """Disjoint sets of small integers; the smallest number of a set is its root."""

    def __init__(self) -> None:
        self.parent: Ids = np.zeros(0, dtype=np.int64)

    def add(self, count: int) -> Ids:
        """The numbers of ``count`` new sets of one number each."""
        start = len(self.parent)
        new = np.arange(start, start + count, dtype=np.int64)
        self.parent = np.concatenate([self.parent, new])
        return new

    def roots(self, ids: Ids) -> Ids:
        found = self.parent[ids]
        while True:
            above = self.parent[found]
            if np.array_equal(above, found):
                return found
            found = above

    def union(self, a: Ids, b: Ids) -> None:
        pairs = np.stack([self.roots(a.ravel()), self.roots(b.ravel())], axis=1)
        for left, right in np.unique(pairs[pairs[:, 0] != pairs[:, 1]], axis=0).tolist():
            left, right = self._find(left), self._find(right)
            self.parent[max(left, right)] = min(left, right)

    def count(self) -> int:
        """How many sets there are."""
        return int((self.parent == np.arange(len(self.parent))).sum())

    def _find(self, item: int) -> int:
        while (above := int(self.parent[item])) != item:
            self.parent[item] = self.parent[above]
            item = above
        return item


@dataclass
class ChannelMap:
    """The result of `legodnn.builder.graph.channels.analysis.analyse`; also what channel rules write to.

    ``tags`` gives the channels of each node's value (absent: not followed), ``slices`` the tensors that shrink,
    ``literals`` the sizes in the graph's code that shrink, ``regrouped`` the grouped convolutions that lose whole
    groups, ``described`` the channels that an attribute of a layer counts, by (layer, attribute), ``heads`` those of
    values that are multiplied head by head.
    """

    module: fx.GraphModule
    tags: dict[fx.Node, Tag] = field(default_factory=dict)
    slices: dict[tuple[str, str, int], Slice] = field(default_factory=dict)
    literals: list[Literal] = field(default_factory=list)
    regrouped: set[str] = field(default_factory=set)
    described: dict[tuple[str, str], Ids] = field(default_factory=dict)
    heads: list[Ids] = field(default_factory=list)
    _coupled: _UnionFind = field(default_factory=_UnionFind)
    _made: list[tuple[str, Ids]] = field(default_factory=list)
    _protected: list[tuple[Ids, Reason]] = field(default_factory=list)
    _touches: dict[fx.Node, list[Ids]] = field(default_factory=dict)
    _index_maps: list[Ids] = field(default_factory=list)
    _groups: list[ChannelGroup] | None = None
    _free_weights: dict[str, Tag] = field(default_factory=dict)
    _held: dict[tuple[str, str | None, int | None], Reason] = field(default_factory=dict)

    def enter(self, node: fx.Node, axis: int, count: int) -> None:
        """The channels of an input of the graph, which are not prunable."""
        self.tags[node] = Tag((axis,), self.fixed(count, Reason("reaches the block's input")))

    # ---- for rules --------------------------------------------------------------------------------------------------
    def tag(self, value: Any) -> Tag | None:
        """The channels of an argument, where it is a node whose channels are followed."""
        if not isinstance(value, fx.Node):
            return None
        if value.op == "get_attr" and value not in self.tags:
            self._follow_weight(value)
        return self.tags.get(value)

    def _follow_weight(self, node: fx.Node) -> None:
        """A weight that the graph reads itself, outside a layer: at first, every entry is a channel of its own."""
        value, name = weight_of(self.module, node), str(node.target)
        if value.is_floating_point() and 1 < value.numel() <= FOLLOWED_WEIGHT_ENTRIES:
            axes = tuple(i for i, size in enumerate(value.shape) if size > 1)
            if name not in self._free_weights:
                ids = self._coupled.add(value.numel()).reshape([value.shape[i] for i in axes])
                self._free_weights[name] = Tag(axes, ids)
            self.tags[node] = self._free_weights[name]

    def fixed(self, count: int, reason: Reason) -> Ids:
        """``count`` new channels that are not prunable."""
        ids = self._coupled.add(count)
        self.protect(ids, reason)
        return ids

    def make(self, owner: str, parameter: str, axis: int, count: int) -> Ids:
        """New channels, made by ``owner``; a layer used twice makes the same ones twice."""
        known = self.slices.get((owner, parameter, axis))
        if known is not None:
            return known.ids
        ids = self._coupled.add(count)
        self._made.append((owner, ids))
        self.shrink(owner, parameter, axis, ids, "out")
        return ids

    def shrink(self, owner: str, parameter: str, axis: int, ids: Ids, role: str) -> None:
        """``owner.parameter`` loses index ``i`` of ``axis`` when channel ``ids[i]`` is pruned."""
        known = self.slices.setdefault((owner, parameter, axis), Slice(owner, parameter, axis, ids, role))
        self.tie(known.ids, ids)

    def describe(self, owner: str, attribute: str, ids: Ids) -> None:
        """``owner.attribute`` is the number of these channels; derivation sets it anew."""
        self.tie(self.described.setdefault((owner, attribute), ids), ids)

    def hold(self, owner: str, reason: Reason, parameter: str | None = None, axis: int | None = None) -> None:
        """A layer (or one tensor, or one axis of it) is used where channels are not followed: it keeps its size in all
        its uses."""
        self._held.setdefault((owner, parameter, axis), reason)

    def tie(self, a: Ids, b: Ids) -> None:
        """Channels ``a[i]`` and ``b[i]`` are coupled; shapes are broadcast."""
        if a is not b:
            self._coupled.union(*np.broadcast_arrays(a, b))

    def protect(self, ids: Ids, reason: Reason) -> None:
        """These channels are not prunable, for this reason; of several reasons the first counts."""
        if ids.size:
            self._protected.append((ids, reason))

    def literal(self, node: fx.Node, path: tuple[int | str, ...], ids: Ids, axis: int = 0) -> None:
        """The number at ``path`` in the node's arguments is the count of these channels along ``axis`` of ``ids``."""
        self.literals.append(Literal(node.name, path, ids, axis))

    def index_map(self, ids: Ids) -> None:
        """These channels, of two axes or more, fill an array, and what is left must fill one: whole slices along one of
        its axes are pruned, `settle` finds which."""
        self._index_maps.append(ids)

    def settle(self) -> None:
        """Choose for every index map the axis along which channels are pruned; called once, after all rules."""
        for name, tag in self._free_weights.items():
            for piece in self.slices.values():
                if weight_name(piece.owner, piece.parameter) == name and piece.axis in tag.axes:
                    self.tie(np.moveaxis(tag.ids, tag.axes.index(piece.axis), -1), piece.ids)
            if len(np.unique(self.roots(tag.ids))) < tag.ids.size:
                self._index_maps.append(tag.ids)
        before, now = -1, self._coupled.count()
        while before != now:
            for ids in self._index_maps:
                self._settle_index_map(ids)
            for name, tag in self._free_weights.items():
                self._settle_weight(name, tag)
            before, now = now, self._coupled.count()
        for (owner, parameter, axis), reason in self._held.items():
            for piece in self.slices.values():
                if piece.owner == owner and parameter in (None, piece.parameter) and axis in (None, piece.axis):
                    self.protect(piece.ids, reason)

    def _settle_weight(self, name: str, tag: Tag) -> None:
        """A weight followed entry by entry shrinks along the axes along which whole lines are coupled."""
        owner, _, parameter = name.rpartition(".")
        roots = self.roots(tag.ids)
        for position, axis in enumerate(tag.axes):
            lines = np.moveaxis(roots, position, 0).reshape(roots.shape[position], -1)
            if (lines == lines[:, :1]).all() and len(np.unique(roots)) > 1:
                first = np.moveaxis(tag.ids, position, 0).reshape(roots.shape[position], -1)[:, 0]
                self.shrink(owner, parameter, axis, first, "carry")

    def _settle_index_map(self, ids: Ids) -> None:
        """Couple everything along all axes but the one that leaves the most sets."""
        roots = self.roots(ids)
        best = max(range(ids.ndim), key=lambda axis: (_lines(roots, axis), axis))
        lines = np.moveaxis(ids, best, 0).reshape(ids.shape[best], -1)
        self.tie(lines, lines[:, :1])

    # ---- results ----------------------------------------------------------------------------------------------------
    def roots(self, ids: Ids) -> Ids:
        """The root of the set of coupled channels that each channel number is in; the shape of ``ids``."""
        return self._coupled.roots(ids)

    def groups(self) -> list[ChannelGroup]:
        """The channel groups in graph order."""
        if self._groups is None:
            self._groups = self._find_groups()
        return self._groups

    def _find_groups(self) -> list[ChannelGroup]:
        reasons: dict[int, Reason] = {}
        for ids, reason in self._protected:
            for root in np.unique(self.roots(ids)).tolist():
                reasons.setdefault(root, reason)
        forest = _UnionFind()
        forest.add(len(self._coupled.parent))
        for _, ids in self._made:
            roots = self.roots(ids)
            forest.union(roots[:1].repeat(len(roots)), roots)
        members: dict[int, set[int]] = {}
        layers: dict[int, dict[str, None]] = {}
        for owner, ids in self._made:
            roots = self.roots(ids)
            group = int(forest.roots(roots[:1])[0])
            members.setdefault(group, set()).update(roots.tolist())
            layers.setdefault(group, {})[owner] = None
        nodes = self._group_nodes(forest)
        return [
            ChannelGroup(
                prunable=np.array(sorted(c for c in coupled if c not in reasons), dtype=np.int64),
                layers=tuple(layers[group]),
                nodes=frozenset(nodes.get(group, ())),
                not_prunable=Counter(reasons[c] for c in sorted(coupled) if c in reasons),
            )
            for group, coupled in members.items()
        ]

    def _group_nodes(self, forest: _UnionFind) -> dict[int, set[fx.Node]]:
        nodes: dict[int, set[fx.Node]] = {}
        for node, touched in self._touches.items():
            for ids in touched:
                for group in np.unique(forest.roots(np.unique(self.roots(ids)))).tolist():
                    nodes.setdefault(group, set()).add(node)
        return nodes

    def note_touch(self, node: fx.Node) -> None:
        """Record which channels a node reads and makes."""
        values = [*node.all_input_nodes, node]
        self._touches[node] = [self.tags[v].ids for v in values if v in self.tags]


def _lines(roots: Ids, axis: int) -> int:
    """How many sets are left when all that lies across ``axis`` is coupled."""
    lines = np.moveaxis(roots, axis, 0).reshape(roots.shape[axis], -1)
    forest = _UnionFind()
    numbers, flat = np.unique(lines, return_inverse=True)
    forest.add(len(numbers))
    flat = flat.reshape(lines.shape)
    forest.union(flat, np.broadcast_to(flat[:, :1], flat.shape))
    return len(np.unique(forest.roots(flat[:, 0])))


def tensor_of(module: nn.Module, piece: Slice) -> Tensor:
    """The parameter or buffer of ``module`` that ``piece`` describes."""
    value: Tensor = getattr(module.get_submodule(piece.owner), piece.parameter)
    return value


def weight_of(module: fx.GraphModule, node: fx.Node) -> Tensor:
    """The tensor a ``get_attr`` node stands for."""
    value: Tensor = operator.attrgetter(str(node.target))(module)
    return value


def weight_name(owner: str, parameter: str) -> str:
    """The full name of a layer's tensor, as ``get_attr`` nodes have it."""
    return f"{owner}.{parameter}" if owner else parameter


def hold_weights(channels: ChannelMap, node: fx.Node) -> None:
    """Weights that ``node`` reads keep their size, since its result is not followed."""
    reason = reason_of(channels.module, node, "its channels are not followed")
    for value in node.all_input_nodes:
        if value.op == "get_attr":
            owner, _, parameter = str(value.target).rpartition(".")
            channels.hold(owner, reason, parameter)
            if value in channels.tags:
                channels.protect(channels.tags[value].ids, reason)


def refuse(channels: ChannelMap, node: fx.Node, why: str) -> None:
    """Make all channels that enter ``node`` not prunable, for the reason ``why``; its result is not followed."""
    protect_all(channels, node.all_input_nodes, reason_of(channels.module, node, why))


def protect_all(channels: ChannelMap, values: Iterable[fx.Node], reason: Reason) -> None:
    """Make the channels of several values not prunable, for one reason."""
    for value in values:
        if value in channels.tags:
            channels.protect(channels.tags[value].ids, reason)


def reason_of(module: fx.GraphModule, node: fx.Node, why: str) -> Reason:
    """A `Reason` that names ``node``: the kind of its layer or the name of its function, its module and source line."""
    if node.op == "call_module":
        layer = module.get_submodule(str(node.target))
        kind = getattr(layer, "original_name", type(layer).__name__)  # of a scripted module, what it was
        return Reason(why, kind, str(node.target), source_line(node))
    return Reason(why, str(getattr(node.target, "__name__", node.target)), module_path(node), source_line(node))
