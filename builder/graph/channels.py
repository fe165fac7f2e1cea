"""Which channels depend on each other, and which may go.

Every channel of every tensor has a number. An operation that makes new channels (a convolution's filters) hands out
new numbers; one that mixes two tensors channel by channel (an addition) makes their numbers equal; one that rearranges
(concatenation, chunk, flatten) rearranges them. Numbers that are equal in the end form a *class*: they go or stay
together. Classes made by the same layers form a *family*, the unit a sparsity applies to. A class that reaches the
graph's input or output, or an operation whose effect is not known, is protected, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import fx

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Tag:
    """The channels of a tensor: its channel axis, and the number of each index along it."""

    axis: int
    ids: Ids


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
    """A size written as a number into the graph (``x.view(-1, 512)``) that shrinks with the channels ``ids``."""

    node: str
    path: tuple[int, ...]
    ids: Ids


@dataclass(frozen=True)
class Family:
    """Channel classes made by the same layers: one row of ``classes`` lists the roots that can be removed."""

    classes: Ids
    layers: tuple[str, ...]
    nodes: frozenset[fx.Node]
    protected: int
    reasons: tuple[str, ...]


class _Forest:
    """Union-find over small integers; the smallest number of a class is its root."""

    def __init__(self) -> None:
        self.parent: list[int] = []

    def grow(self, count: int) -> Ids:
        start = len(self.parent)
        self.parent.extend(range(start, start + count))
        return np.arange(start, start + count, dtype=np.int64)

    def find(self, item: int) -> int:
        root = item
        while self.parent[root] != root:
            root = self.parent[root]
        while self.parent[item] != root:
            self.parent[item], item = root, self.parent[item]
        return root

    def union(self, a: int, b: int) -> None:
        a, b = self.find(a), self.find(b)
        if a != b:
            self.parent[max(a, b)] = min(a, b)

    def roots(self, ids: Ids) -> Ids:
        return np.fromiter((self.find(int(i)) for i in ids), dtype=np.int64, count=len(ids))


@dataclass
class ChannelMap:
    """The result of `legodnn.builder.graph.analysis.analyse`; also the workbench the rules write to.

    ``tags`` gives the channels of each node's value (absent: not followed), ``slices`` the tensors that shrink,
    ``literals`` the written-down sizes that shrink.
    """

    module: fx.GraphModule
    tags: dict[fx.Node, Tag] = field(default_factory=dict)
    slices: dict[tuple[str, str, int], Slice] = field(default_factory=dict)
    literals: list[Literal] = field(default_factory=list)
    _classes: _Forest = field(default_factory=_Forest)
    _made: list[tuple[str, Ids]] = field(default_factory=list)
    _protected: list[tuple[Ids, str]] = field(default_factory=list)
    _touches: dict[fx.Node, list[Ids]] = field(default_factory=dict)

    def enter(self, node: fx.Node, count: int) -> Ids:
        """The channels of an input of the graph; they stay."""
        ids = self._classes.grow(count)
        self.protect(ids, "reaches the block's input")
        self.tags[node] = Tag(1, ids)
        return ids

    # ---- what rules say -------------------------------------------------------------------------------------------
    def tag(self, value: Any) -> Tag | None:
        """The channels of an argument, where it is a node whose channels are followed."""
        return self.tags.get(value) if isinstance(value, fx.Node) else None

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

    def tie(self, a: Ids, b: Ids) -> None:
        """Channel ``a[i]`` and channel ``b[i]`` go together."""
        if a is not b:
            for left, right in zip(a.tolist(), b.tolist(), strict=True):
                self._classes.union(left, right)

    def protect(self, ids: Ids, reason: str) -> None:
        """These channels stay, and why."""
        if len(ids):
            self._protected.append((ids, reason))

    def literal(self, node: fx.Node, path: tuple[int, ...], ids: Ids) -> None:
        """The number at ``path`` in the node's arguments is the count of these channels."""
        self.literals.append(Literal(node.name, path, ids))

    # ---- what readers ask -----------------------------------------------------------------------------------------
    def roots(self, ids: Ids) -> Ids:
        """The class of each channel number."""
        return self._classes.roots(ids)

    def families(self) -> list[Family]:
        """Families in graph order, with the layers that make them and the reasons for what is protected."""
        reasons: dict[int, str] = {}
        for ids, reason in self._protected:
            for root in np.unique(self.roots(ids)).tolist():
                reasons.setdefault(root, reason)
        groups = _Forest()
        groups.grow(len(self._classes.parent))
        for _, ids in self._made:
            roots = self.roots(ids)
            for root in roots[1:].tolist():
                groups.union(int(roots[0]), root)
        members: dict[int, set[int]] = {}
        layers: dict[int, dict[str, None]] = {}
        for owner, ids in self._made:
            roots = self.roots(ids)
            family = groups.find(int(roots[0]))
            members.setdefault(family, set()).update(roots.tolist())
            layers.setdefault(family, {})[owner] = None
        nodes = self._family_nodes(groups)
        return [
            Family(
                classes=np.array(sorted(c for c in classes if c not in reasons), dtype=np.int64),
                layers=tuple(layers[family]),
                nodes=frozenset(nodes.get(family, ())),
                protected=sum(c in reasons for c in classes),
                reasons=tuple(dict.fromkeys(reasons[c] for c in sorted(classes) if c in reasons)),
            )
            for family, classes in members.items()
        ]

    def _family_nodes(self, groups: _Forest) -> dict[int, set[fx.Node]]:
        nodes: dict[int, set[fx.Node]] = {}
        for node, touched in self._touches.items():
            for ids in touched:
                for root in np.unique(self.roots(ids)).tolist():
                    nodes.setdefault(groups.find(root), set()).add(node)
        return nodes

    def note_touch(self, node: fx.Node) -> None:
        """Remember which channels a node reads and makes."""
        values = [*node.all_input_nodes, node]
        self._touches[node] = [self.tags[v].ids for v in values if v in self.tags]


def refuse(channels: ChannelMap, node: fx.Node, why: str) -> None:
    """Protect everything that enters ``node``; its result is not followed."""
    protect_all(channels, node.all_input_nodes, f"{describe(channels.module, node)}: {why}")


def protect_all(channels: ChannelMap, values: Iterable[fx.Node], reason: str) -> None:
    """Protect the channels of several values for one reason."""
    for value in values:
        if value in channels.tags:
            channels.protect(channels.tags[value].ids, reason)


def describe(module: fx.GraphModule, node: fx.Node) -> str:
    """A node in words a user knows: the layer's name and kind, or the function's name."""
    if node.op == "call_module":
        return f"{node.target} ({type(module.get_submodule(str(node.target))).__name__})"
    return f"{node.name} ({getattr(node.target, '__name__', node.target)})"
