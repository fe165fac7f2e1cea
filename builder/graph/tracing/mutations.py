"""Which operations change their input, noticed while the network is traced."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx

from legodnn.builder.graph.values import tensors_in


@dataclass(frozen=True)
class Mutation:
    """A node that changes one of its inputs.

    ``aliases`` are all names the changed tensor goes by; ``views`` are live values that share its memory.
    """

    node: fx.Node
    changed: fx.Node
    returns_changed: bool
    aliases: tuple[fx.Node, ...]
    views: tuple[fx.Node, ...]


class Watch:
    """Knows the tensors behind the nodes of a graph being traced, as long as they are alive.

    It has weak references only: what the network's code has freed takes no memory and is no alias.
    """

    def __init__(self) -> None:
        self.mutations: list[Mutation] = []
        self._behind: dict[fx.Node, list[weakref.ref[Tensor]]] = {}

    def note(self, node: fx.Node, value: Any) -> None:
        """``value`` is what ``node`` stands for."""
        self._behind[node] = [weakref.ref(tensor) for tensor in tensors_in(value)]

    def versions(self, node: fx.Node) -> dict[fx.Node, list[int]]:
        """The version counters of the tensors that ``node`` reads."""
        return {source: [t._version for t in self._tensors(source)] for source in node.all_input_nodes}

    def compare(self, node: fx.Node, before: dict[fx.Node, list[int]], value: Any) -> None:
        """Record a `Mutation` if ``node``, which has run and returned ``value``, changed what it reads."""
        changed = [source for source, versions in self.versions(node).items() if versions != before[source]]
        for source in changed[:1]:  # the others share its memory
            tensors = self._tensors(source)
            same = isinstance(value, Tensor) and any(_is_same(value, t) for t in tensors)
            self.mutations.append(Mutation(node, source, same, *self._others(source, tensors)))

    def _tensors(self, node: fx.Node) -> list[Tensor]:
        return [tensor for ref in self._behind.get(node, ()) if (tensor := ref()) is not None]

    def _others(self, source: fx.Node, tensors: list[Tensor]) -> tuple[tuple[fx.Node, ...], tuple[fx.Node, ...]]:
        memory = _memory(tensors)
        alive = {node: self._tensors(node) for node in self._behind}
        sharing = {node: values for node, values in alive.items() if _memory(values) & memory}
        aliases = [
            node
            for node, values in sharing.items()
            if len(values) == len(tensors) and all(_is_same(a, b) for a, b in zip(values, tensors, strict=True))
        ]
        return tuple(aliases), tuple(node for node in sharing if node not in aliases)


def _is_same(a: Tensor, b: Tensor) -> bool:
    return a.data_ptr() == b.data_ptr() and a.shape == b.shape and a.stride() == b.stride() and a.dtype == b.dtype


def _memory(tensors: list[Tensor]) -> set[int]:
    return {t.untyped_storage().data_ptr() for t in tensors}
