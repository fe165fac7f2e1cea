"""Dominators of a directed acyclic graph given as predecessor lists."""

from __future__ import annotations

from collections.abc import Sequence


def immediate_dominators(predecessors: Sequence[Sequence[int]]) -> list[int]:
    """The immediate dominator of every node, for nodes numbered in topological order with node 0 as the only root.

    ``predecessors[i]`` are numbers below ``i``; the root's own entry of the result is 0. Follows Cooper, Harvey and
    Kennedy (*A simple, fast dominance algorithm*, 2001), for which one pass suffices where there are no cycles.
    """
    dominator = [0] * len(predecessors)
    for node in range(1, len(predecessors)):
        common = predecessors[node][0]
        for other in predecessors[node][1:]:
            common = _meet(dominator, common, other)
        dominator[node] = common
    return dominator


def _meet(dominator: Sequence[int], a: int, b: int) -> int:
    while a != b:
        if a > b:
            a = dominator[a]
        else:
            b = dominator[b]
    return a
