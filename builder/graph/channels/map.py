"""Which channels depend on each other, and which may go.

Every channel of every tensor has a number. An operation that makes new channels (a convolution's filters) hands out
new numbers; one that mixes two tensors channel by channel (an addition) makes their numbers equal; one that rearranges
(concatenation, chunk, flatten) rearranges them. Numbers that are equal in the end form a *class*: they go or stay
together. Classes made by the same layers form a *family*, the unit a sparsity applies to. A class that reaches the
graph's input or output, or an operation whose effect is not known, is protected, with the reason.
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

from legodnn.builder.graph.values import home, place

Ids = npt.NDArray[np.int64]

FOLLOWED_WEIGHT_ENTRIES = 1 << 18
"""Weights that are used outside layers are followed entry by entry up to this size."""


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
    """A tensor of a layer that shrinks when channels go: index ``i`` along ``axis`` belongs to channel ``ids[i]``.

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
    """Why channels stay and, where an operation keeps them, which one, in which module, at which line of its code."""

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
class Family:
    """Channel classes made by the same layers: ``classes`` lists the roots that can be removed, ``stays`` counts the
    others by what keeps them."""

    classes: Ids
    layers: tuple[str, ...]
    nodes: frozenset[fx.Node]
    stays: Mapping[Reason, int]

    @property
    def protected(self) -> int:
        """How many classes stay."""
        return sum(self.stays.values())


class _Forest:
    """Union-find over small integers; the smallest number of a class is its root."""

    def __init__(self) -> None:
        self.parent: Ids = np.zeros(0, dtype=np.int64)

    def grow(self, count: int) -> Ids:
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
        """How many classes there are."""
        return int((self.parent == np.arange(len(self.parent))).sum())

    def _find(self, item: int) -> int:
        while (above := int(self.parent[item])) != item:
            self.parent[item] = self.parent[above]
            item = above
        return item


@dataclass
class ChannelMap:
    """The result of `legodnn.builder.graph.channels.analysis.analyse`; also the workbench the rules write to.

    ``tags`` gives the channels of each node's value (absent: not followed), ``slices`` the tensors that shrink,
    ``literals`` the written-down sizes that shrink, ``regrouped`` the grouped convolutions that lose whole groups,
    ``described`` what layers without weights say of their channels: those of (layer, attribute).
    """

    module: fx.GraphModule
    tags: dict[fx.Node, Tag] = field(default_factory=dict)
    slices: dict[tuple[str, str, int], Slice] = field(default_factory=dict)
    literals: list[Literal] = field(default_factory=list)
    regrouped: set[str] = field(default_factory=set)
    described: dict[tuple[str, str], Ids] = field(default_factory=dict)
    _classes: _Forest = field(default_factory=_Forest)
    _made: list[tuple[str, Ids]] = field(default_factory=list)
    _protected: list[tuple[Ids, Reason]] = field(default_factory=list)
    _touches: dict[fx.Node, list[Ids]] = field(default_factory=dict)
    _grids: list[Ids] = field(default_factory=list)
    _families: list[Family] | None = None
    _free_weights: dict[str, Tag] = field(default_factory=dict)
    _held: dict[tuple[str, str | None, int | None], Reason] = field(default_factory=dict)

    def enter(self, node: fx.Node, axis: int, count: int) -> None:
        """The channels of an input of the graph; they stay."""
        self.tags[node] = Tag((axis,), self.fixed(count, Reason("reaches the block's input")))

    # ---- what rules say -------------------------------------------------------------------------------------------
    def tag(self, value: Any) -> Tag | None:
        """The channels of an argument, where it is a node whose channels are followed."""
        if not isinstance(value, fx.Node):
            return None
        if value.op == "get_attr" and value not in self.tags:
            self._follow_weight(value)
        return self.tags.get(value)

    def _follow_weight(self, node: fx.Node) -> None:
        """A weight that takes part in the computation itself: at first, every entry is a channel of its own."""
        value, name = weight_of(self.module, node), str(node.target)
        if value.is_floating_point() and 1 < value.numel() <= FOLLOWED_WEIGHT_ENTRIES:
            axes = tuple(i for i, size in enumerate(value.shape) if size > 1)
            if name not in self._free_weights:
                ids = self._classes.grow(value.numel()).reshape([value.shape[i] for i in axes])
                self._free_weights[name] = Tag(axes, ids)
            self.tags[node] = self._free_weights[name]

    def fixed(self, count: int, reason: Reason) -> Ids:
        """New channels that stay."""
        ids = self._classes.grow(count)
        self.protect(ids, reason)
        return ids

    def make(self, owner: str, parameter: str, axis: int, count: int) -> Ids:
        """New channels, made by ``owner``; a layer used twice makes the same ones twice."""
        known = self.slices.get((owner, parameter, axis))
        if known is not None:
            return known.ids
        ids = self._classes.grow(count)
        self._made.append((owner, ids))
        self.shrink(owner, parameter, axis, ids, "out")
        return ids

    def shrink(self, owner: str, parameter: str, axis: int, ids: Ids, role: str) -> None:
        """``owner.parameter`` loses index ``i`` of ``axis`` when channel ``ids[i]`` goes."""
        known = self.slices.setdefault((owner, parameter, axis), Slice(owner, parameter, axis, ids, role))
        self.tie(known.ids, ids)

    def describe(self, owner: str, attribute: str, ids: Ids) -> None:
        """``owner.attribute`` is the number of these channels, in a layer without tensors that would tell."""
        self.tie(self.described.setdefault((owner, attribute), ids), ids)

    def hold(self, owner: str, reason: Reason, parameter: str | None = None, axis: int | None = None) -> None:
        """A layer (or one tensor, or one axis of it) is used where channels are not followed: it keeps its size there,
        and so it does in its other uses."""
        self._held.setdefault((owner, parameter, axis), reason)

    def tie(self, a: Ids, b: Ids) -> None:
        """Channel ``a[i]`` and channel ``b[i]`` go together; shapes are broadcast."""
        if a is not b:
            self._classes.union(*np.broadcast_arrays(a, b))

    def protect(self, ids: Ids, reason: Reason) -> None:
        """These channels stay, and why."""
        if ids.size:
            self._protected.append((ids, reason))

    def literal(self, node: fx.Node, path: tuple[int | str, ...], ids: Ids, axis: int = 0) -> None:
        """The number at ``path`` in the node's arguments is the count of these channels along ``axis`` of ``ids``."""
        self.literals.append(Literal(node.name, path, ids, axis))

    def grid(self, ids: Ids) -> None:
        """These channels fill a rectangle, and what is left must fill one: whole rows go, or whole columns."""
        self._grids.append(ids)

    def settle(self) -> None:
        """Decide for every grid along which axis channels go, after all rules have spoken."""
        for name, tag in self._free_weights.items():
            for piece in self.slices.values():
                if weight_name(piece.owner, piece.parameter) == name and piece.axis in tag.axes:
                    self.tie(np.moveaxis(tag.ids, tag.axes.index(piece.axis), -1), piece.ids)
            if len(np.unique(self.roots(tag.ids))) < tag.ids.size:
                self._grids.append(tag.ids)
        before, now = -1, self._classes.count()
        while before != now:
            for ids in self._grids:
                self._settle_grid(ids)
            for name, tag in self._free_weights.items():
                self._settle_weight(name, tag)
            before, now = now, self._classes.count()
        for (owner, parameter, axis), reason in self._held.items():
            for piece in self.slices.values():
                if piece.owner == owner and parameter in (None, piece.parameter) and axis in (None, piece.axis):
                    self.protect(piece.ids, reason)

    def _settle_weight(self, name: str, tag: Tag) -> None:
        """A weight followed entry by entry shrinks along the axes along which whole lines go."""
        owner, _, parameter = name.rpartition(".")
        roots = self.roots(tag.ids)
        for position, axis in enumerate(tag.axes):
            lines = np.moveaxis(roots, position, 0).reshape(roots.shape[position], -1)
            if (lines == lines[:, :1]).all() and len(np.unique(roots)) > 1:
                first = np.moveaxis(tag.ids, position, 0).reshape(roots.shape[position], -1)[:, 0]
                self.shrink(owner, parameter, axis, first, "carry")

    def _settle_grid(self, ids: Ids) -> None:
        """Tie everything along all axes but the one that leaves the most classes."""
        roots = self.roots(ids)
        best = max(range(ids.ndim), key=lambda axis: (_lines(roots, axis), axis))
        lines = np.moveaxis(ids, best, 0).reshape(ids.shape[best], -1)
        self.tie(lines, lines[:, :1])

    # ---- what readers ask -----------------------------------------------------------------------------------------
    def roots(self, ids: Ids) -> Ids:
        """The class of each channel number."""
        return self._classes.roots(ids)

    def families(self) -> list[Family]:
        """Families in graph order, with the layers that make them and the reasons for what is protected."""
        if self._families is None:
            self._families = self._find_families()
        return self._families

    def _find_families(self) -> list[Family]:
        reasons: dict[int, Reason] = {}
        for ids, reason in self._protected:
            for root in np.unique(self.roots(ids)).tolist():
                reasons.setdefault(root, reason)
        groups = _Forest()
        groups.grow(len(self._classes.parent))
        for _, ids in self._made:
            roots = self.roots(ids)
            groups.union(roots[:1].repeat(len(roots)), roots)
        members: dict[int, set[int]] = {}
        layers: dict[int, dict[str, None]] = {}
        for owner, ids in self._made:
            roots = self.roots(ids)
            family = int(groups.roots(roots[:1])[0])
            members.setdefault(family, set()).update(roots.tolist())
            layers.setdefault(family, {})[owner] = None
        nodes = self._family_nodes(groups)
        return [
            Family(
                classes=np.array(sorted(c for c in classes if c not in reasons), dtype=np.int64),
                layers=tuple(layers[family]),
                nodes=frozenset(nodes.get(family, ())),
                stays=Counter(reasons[c] for c in sorted(classes) if c in reasons),
            )
            for family, classes in members.items()
        ]

    def _family_nodes(self, groups: _Forest) -> dict[int, set[fx.Node]]:
        nodes: dict[int, set[fx.Node]] = {}
        for node, touched in self._touches.items():
            for ids in touched:
                for family in np.unique(groups.roots(np.unique(self.roots(ids)))).tolist():
                    nodes.setdefault(family, set()).add(node)
        return nodes

    def note_touch(self, node: fx.Node) -> None:
        """Remember which channels a node reads and makes."""
        values = [*node.all_input_nodes, node]
        self._touches[node] = [self.tags[v].ids for v in values if v in self.tags]


def _lines(roots: Ids, axis: int) -> int:
    """How many classes are left when all that lies across ``axis`` goes together."""
    lines = np.moveaxis(roots, axis, 0).reshape(roots.shape[axis], -1)
    forest = _Forest()
    numbers, flat = np.unique(lines, return_inverse=True)
    forest.grow(len(numbers))
    flat = flat.reshape(lines.shape)
    forest.union(flat, np.broadcast_to(flat[:, :1], flat.shape))
    return len(np.unique(forest.roots(flat[:, 0])))


def tensor_of(module: nn.Module, piece: Slice) -> Tensor:
    """The parameter or buffer of ``module`` that ``piece`` speaks of."""
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
    """Weights that ``node`` itself reads keep their size: its result is not followed."""
    reason = reason_of(channels.module, node, "its channels are not followed")
    for value in node.all_input_nodes:
        if value.op == "get_attr":
            owner, _, parameter = str(value.target).rpartition(".")
            channels.hold(owner, reason, parameter)
            if value in channels.tags:
                channels.protect(channels.tags[value].ids, reason)


def refuse(channels: ChannelMap, node: fx.Node, why: str) -> None:
    """Protect everything that enters ``node``; its result is not followed."""
    protect_all(channels, node.all_input_nodes, reason_of(channels.module, node, why))


def protect_all(channels: ChannelMap, values: Iterable[fx.Node], reason: Reason) -> None:
    """Protect the channels of several values for one reason."""
    for value in values:
        if value in channels.tags:
            channels.protect(channels.tags[value].ids, reason)


def reason_of(module: fx.GraphModule, node: fx.Node, why: str) -> Reason:
    """What ``node`` keeps channels for, in words a user knows: the layer's kind or the function's name, and where."""
    if node.op == "call_module":
        layer = module.get_submodule(str(node.target))
        kind = getattr(layer, "original_name", type(layer).__name__)  # of a scripted module, what it was
        return Reason(why, kind, str(node.target), place(node))
    return Reason(why, str(getattr(node.target, "__name__", node.target)), home(node), place(node))
