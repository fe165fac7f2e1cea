"""The teacher as a DAG of segments: blocks, which have variants, and the trunk, which has none.

Blocks come from the graph, not from module names. Nodes that every path between two others must pass form *chains*; a
stretch of a chain has exactly one tensor entering and one leaving, whatever branches lie inside it. Dynamic programming
over each chain picks the stretches with the most prunable parameters, within a limit on layers per block. A piece of a
chain too large for one block is searched for chains inside it (branches of an Inception module, say).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from torch import Tensor, fx

from legodnn.builder.graph.channels.analysis import CHANNEL_AXES, analyse
from legodnn.builder.graph.channels.map import ChannelMap, tensor_of
from legodnn.builder.graph.cuts import NO_CUTS, Cuts, within
from legodnn.builder.graph.dominators import immediate_dominators
from legodnn.builder.graph.layers import PRUNABLE
from legodnn.builder.graph.values import is_data_dependent, metadata, module_path


@dataclass(frozen=True)
class Segment:
    """A piece of the teacher: its nodes in graph order, the tensors it reads and the tensors others read from it."""

    name: str
    kind: str
    nodes: tuple[fx.Node, ...]
    inputs: tuple[fx.Node, ...]
    outputs: tuple[fx.Node, ...]

    @property
    def is_block(self) -> bool:
        """Whether the segment has variants."""
        return self.kind == "block"


@dataclass(frozen=True)
class SegmentGraph:
    """All segments of a teacher in an order in which they can run, with the values that enter and leave it.

    ``channels`` is the analysis of the whole teacher.
    """

    teacher: fx.GraphModule
    segments: tuple[Segment, ...]
    inputs: tuple[fx.Node, ...]
    outputs: tuple[fx.Node, ...]
    channels: ChannelMap

    def answer(self, values: Mapping[fx.Node, Tensor]) -> Any:
        """The teacher's result, a tensor or tensors in its containers, from the values of its output nodes."""
        output = next(n for n in self.teacher.graph.nodes if n.op == "output")
        return _filled(output.args[0], values)

    @property
    def boundaries(self) -> set[fx.Node]:
        """The values that enter segments and leave them."""
        return {*self.inputs, *(node for segment in self.segments for node in segment.outputs)}

    @property
    def blocks(self) -> tuple[Segment, ...]:
        """The segments that have variants."""
        return tuple(s for s in self.segments if s.is_block)

    def module(self, segment: Segment) -> fx.GraphModule:
        """The segment as a module of its own; its layers are the teacher's (shared, not copied)."""
        return extract(self.teacher, segment)


def _filled(structure: Any, values: Mapping[fx.Node, Tensor]) -> Any:
    if isinstance(structure, fx.Node):
        return values[structure]
    if isinstance(structure, dict):
        return {key: _filled(item, values) for key, item in structure.items()}
    if isinstance(structure, (list, tuple)):
        items = [_filled(item, values) for item in structure]
        if hasattr(structure, "_fields"):
            return type(structure)(*items)
        return items if isinstance(structure, list) else tuple(items)
    return structure


def layers_of(teacher: fx.GraphModule, nodes: Iterable[fx.Node]) -> list[str]:
    """The names of the convolutions and linear layers among ``nodes``, each once, in graph order."""
    names = {
        str(n.target): None
        for n in nodes
        if n.op == "call_module" and isinstance(teacher.get_submodule(str(n.target)), PRUNABLE)
    }
    return list(names)


def cut(teacher: fx.GraphModule, max_ratio: float, cuts: Cuts = NO_CUTS) -> SegmentGraph:
    """Cut a traced teacher into segments; a block holds at most ``ceil(max_ratio * layers)`` prunable layers (but two
    are always allowed, since the channels of one alone reach the block's output), within the user's ``cuts``."""
    values = _ValueGraph(teacher)
    limit = max(2, math.ceil(max_ratio * len(layers_of(teacher, values.nodes))))
    channels = analyse(teacher, cuts.dense)
    for node, tag in channels.tags.items():
        node.meta[CHANNEL_AXES] = tag.axes  # a segment's analysis starts from what the whole network's has found
    stretches = list(_Finder(values, channels, limit, cuts.boundaries).search(values.top_chain()))
    output = next(n for n in teacher.graph.nodes if n.op == "output")
    return SegmentGraph(
        teacher,
        tuple(_schedule(values, stretches)),
        tuple(n for n in teacher.graph.nodes if n.op == "placeholder"),
        tuple(output.all_input_nodes),
        channels,
    )


class _ValueGraph:
    """Nodes that hold tensors computed from the input, numbered in graph order, with edges between them.

    Parameters, constants and sizes are *free*: they are copied into every segment that reads them, so an edge through a
    size is an edge from the tensor whose size it is. Number 0 is the source (all inputs), the last one the output.
    """

    def __init__(self, teacher: fx.GraphModule) -> None:
        self.teacher = teacher
        self.sources = _sources_of_all(teacher)
        self.nodes: list[fx.Node] = [n for n in teacher.graph.nodes if self._computes(n)]
        self.number = {node: i + 1 for i, node in enumerate(self.nodes)}
        self.number.update({n: 0 for n in teacher.graph.nodes if n.op == "placeholder"})
        output = next(n for n in teacher.graph.nodes if n.op == "output")
        self.output = len(self.nodes) + 1
        predecessors: list[list[int]] = [[]] + [self._numbers(n) for n in self.nodes] + [self._numbers(output)]
        self.predecessors = predecessors
        self.successors: list[list[int]] = [[] for _ in predecessors]
        for node, before in enumerate(predecessors):
            for source in before:
                self.successors[source].append(node)
        self.dominator = immediate_dominators(predecessors)
        mirrored = [[self.output - s for s in after] or [0] for after in reversed(self.successors)]
        self.post_dominator = [self.output - d for d in reversed(immediate_dominators(mirrored))]

    def _computes(self, node: fx.Node) -> bool:
        if node.op in ("placeholder", "output", "get_attr"):
            return False
        return metadata(node).holds_tensors and bool(self.sources[node])

    def positions(self, nodes: Iterable[fx.Node]) -> set[int]:
        """The numbers of nodes; free ones have none, since every segment has its own copy of them."""
        return {
            self.output if n.op == "output" else self.number[n] for n in nodes if n.op == "output" or n in self.number
        }

    def _numbers(self, node: fx.Node) -> list[int]:
        return sorted({self.number[s] for s in self.sources[node]}) or [0]

    def top_chain(self) -> list[int]:
        """The chain from the source to the output."""
        return self.chain(0)

    def chain(self, start: int) -> list[int]:
        """Nodes from ``start`` on, each the immediate post-dominator of the one before, its immediate dominator."""
        chain = [start]
        while chain[-1] != self.output:
            after = self.post_dominator[chain[-1]]
            if self.dominator[after] != chain[-1]:
                break
            chain.append(after)
        return chain

    def between(self, first: int, last: int) -> list[int]:
        """The nodes of the piece after ``first`` up to and with ``last`` (both neighbours in a chain)."""
        found, waiting = {last}, [p for p in self.predecessors[last]]
        while waiting:
            node = waiting.pop()
            if node != first and node not in found and node > first:
                found.add(node)
                waiting.extend(self.predecessors[node])
        return sorted(found)


def _sources_of_all(teacher: fx.GraphModule) -> dict[fx.Node, list[fx.Node]]:
    """For every node the tensors it is computed from, those behind sizes and other values without tensors included.

    Weights are not among them, nor what is computed from weights alone.
    """
    sources: dict[fx.Node, list[fx.Node]] = {}
    for node in teacher.graph.nodes:
        found: dict[fx.Node, None] = {}
        for source in node.all_input_nodes:
            if source.op == "placeholder":
                found[source] = None
            elif source.op != "get_attr" and sources[source]:
                found.update(dict.fromkeys([source] if metadata(source).holds_tensors else sources[source]))
        sources[node] = list(found)
    return sources


@dataclass(frozen=True)
class _Stretch:
    """A candidate for a block: the number of the value that leaves it, the numbers of its nodes."""

    exit: int
    nodes: tuple[int, ...]


class _Finder:
    """Picks the stretches of chains that become blocks."""

    def __init__(self, values: _ValueGraph, channels: ChannelMap, limit: int, boundaries: Sequence[str]) -> None:
        self.values = values
        self.limit = limit
        self.enclosing = [()] + [tuple(within(module_path(node), boundaries)) for node in values.nodes]
        weight = _removable_parameters(channels)
        groups = [
            (frozenset(values.positions(g.nodes)), weight[i], len(g.prunable)) for i, g in enumerate(channels.groups())
        ]
        # A group at no numbered node is computed from weights alone; whatever block reads it prunes its copy.
        self.groups = [(nodes, share) for nodes, share, prunable in groups if nodes and prunable > 1]

    def search(self, chain: Sequence[int]) -> Iterator[_Stretch]:
        """Blocks on a chain, then blocks inside the pieces no block took."""
        output = self.values.output
        pieces = [[n for n in self.values.between(a, b) if n != output] for a, b in pairwise(chain)]
        chosen = self._choose(chain, pieces)
        bounds = [*[first for first, _ in chosen], len(pieces)][1:] if chosen else []
        taken: set[int] = set()
        for (first, last), bound in zip(chosen, bounds, strict=True):
            last = self._with_followers(chain, pieces, last, bound)
            taken.update(range(first, last))
            nodes = [n for piece in pieces[first:last] for n in piece]
            yield _Stretch(chain[last], tuple(nodes))
        for i, piece in enumerate(pieces):
            if i not in taken and len(piece) > 1:
                yield from self._inside(piece)

    def _inside(self, piece: Sequence[int]) -> Iterator[_Stretch]:
        seen: set[int] = set()
        members = set(piece)
        for start in piece:
            if start in seen or start == self.values.output:
                continue
            chain = [n for n in self.values.chain(start) if n in members]
            sources = self.values.predecessors[start]
            if len(sources) == 1 and sources[0] != 0:
                chain = [sources[0], *chain]  # a branch: its first operation is part of it
            for a, b in pairwise(chain):
                seen.update(self.values.between(a, b))
            if len(chain) > 1:
                yield from self.search(chain)

    def _choose(self, chain: Sequence[int], pieces: Sequence[Sequence[int]]) -> list[tuple[int, int]]:
        """Stretches (first piece, last piece + 1): most removable parameters, fewest blocks, fewest pieces."""
        layers = [layers_of(self.values.teacher, [self.values.nodes[n - 1] for n in piece]) for piece in pieces]
        best: list[tuple[tuple[int, int, int], list[tuple[int, int]]]] = [((0, 0, 0), [])]
        for end in range(1, len(pieces) + 1):
            candidates = [best[end - 1]]
            names: set[str] = set()
            for start in range(end - 1, -1, -1):
                names.update(layers[start])
                if len(names) > self.limit:
                    break
                gain = self._gain(chain, pieces, start, end)
                if gain:
                    score, blocks = best[start]
                    total = (score[0] + gain, score[1] - 1, score[2] - (end - start))
                    candidates.append((total, [*blocks, (start, end)]))
            best.append(max(candidates, key=lambda c: c[0]))
        return best[-1][1]

    def _gain(self, chain: Sequence[int], pieces: Sequence[Sequence[int]], start: int, end: int) -> int:
        entry, last = chain[start], chain[end]
        if last == self.values.output or not self._is_tensor(entry) or not self._is_tensor(last):
            return 0
        inside = {n for piece in pieces[start:end] for n in piece}
        if len({self.enclosing[n] for n in inside}) > 1:
            return 0
        return sum(weight for nodes, weight in self.groups if nodes <= inside)

    def _is_tensor(self, number: int) -> bool:
        if number == 0:
            return [n.op for n in self.values.teacher.graph.nodes].count("placeholder") == 1
        return metadata(self.values.nodes[number - 1]).is_tensor

    def _with_followers(self, chain: Sequence[int], pieces: Sequence[Sequence[int]], last: int, bound: int) -> int:
        """The end of a stretch with the operations that follow without layers or another shape: norms, activations."""
        while last < bound and chain[last + 1] != self.values.output:
            following = self.values.nodes[chain[last + 1] - 1]
            here = self.values.nodes[chain[last] - 1]
            single = len(pieces[last]) == 1 and following.op in ("call_module", "call_function", "call_method")
            if not single or layers_of(self.values.teacher, [following]):
                break
            if self.enclosing[chain[last + 1]] != self.enclosing[chain[last]]:
                break
            if not metadata(following).is_tensor or metadata(following).shape != metadata(here).shape:
                break
            last += 1
        return last


def _removable_parameters(channels: ChannelMap) -> list[int]:
    """Parameters that would be pruned with each channel group; a weight that two groups share counts for both."""
    groups = channels.groups()
    owner = {int(root): i for i, group in enumerate(groups) for root in group.prunable.tolist()}
    weight = [0] * len(groups)
    for piece in channels.slices.values():
        value = tensor_of(channels.module, piece)
        share = value.numel() // value.shape[piece.axis]
        for root in channels.roots(piece.ids).tolist():
            if root in owner:
                weight[owner[root]] += share
    return weight


def _schedule(values: _ValueGraph, stretches: Sequence[_Stretch]) -> list[Segment]:
    """Segments in an order in which they can run: each block in one go, trunk nodes between them gathered.

    A data-dependent selection is a segment by itself, so that its inputs are values between segments and can be
    compared. Contracting a stretch cannot close a cycle, since everything enters it by one value and leaves it by one.
    """
    block_of = {n: stretch for stretch in stretches for n in stretch.nodes}
    runs: list[tuple[str, list[int]]] = []
    done = {0}
    waiting = [n for n in range(1, values.output)]
    while waiting:
        number = next(n for n in waiting if _ready(values, n, done, block_of))
        stretch = block_of.get(number)
        unit = list(stretch.nodes) if stretch else _unit(values, number)
        kind = "block" if stretch else "selection" if is_data_dependent(values.nodes[number - 1]) else "trunk"
        if runs and runs[-1][0] == kind == "trunk":
            runs[-1][1].extend(unit)
        else:
            runs.append((kind, unit))
        done.update(unit)
        waiting = [n for n in waiting if n not in done]
    return _named(values, runs)


def _ready(values: _ValueGraph, number: int, done: set[int], block_of: Mapping[int, _Stretch]) -> bool:
    stretch = block_of.get(number)
    members = set(stretch.nodes) if stretch else {number}
    return all(p in done or p in members for m in members for p in values.predecessors[m])


def _unit(values: _ValueGraph, number: int) -> list[int]:
    """A node, with the items taken from its result where that is a tuple: only tensors pass between segments."""
    unit = [number]
    if not metadata(values.nodes[number - 1]).is_tensor:
        for after in sorted(set(values.successors[number])):
            if after != values.output and values.predecessors[after] == [number]:
                unit.extend(_unit(values, after))
    return unit


def _named(values: _ValueGraph, runs: Sequence[tuple[str, list[int]]]) -> list[Segment]:
    segments: list[Segment] = []
    counts = {"block": 0, "trunk": 0}
    for run, numbers in runs:
        kind = "block" if run == "block" else "trunk"
        inside = set(numbers)
        nodes = tuple(values.nodes[n - 1] for n in sorted(inside))
        inputs = dict.fromkeys(s for n in nodes for s in values.sources[n] if values.number[s] not in inside)
        outputs = [n for n in nodes if any(after not in inside for after in values.successors[values.number[n]])]
        segments.append(Segment(f"{kind}{counts[kind]}", kind, nodes, tuple(inputs), tuple(outputs)))
        counts[kind] += 1
    return segments


def extract(teacher: fx.GraphModule, segment: Segment) -> fx.GraphModule:
    """A segment as a graph module: tensors in the order of ``segment.inputs``, one tensor or a tuple of them out."""
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for source in segment.inputs:
        copies[source] = graph.placeholder(source.name)
        copies[source].meta = dict(source.meta)

    def copied(node: fx.Node) -> fx.Node:
        """The node's copy, made with everything free (sizes, parameters, constants) that it reads."""
        if node not in copies:
            for source in node.all_input_nodes:
                copied(source)
            copies[node] = graph.node_copy(node, lambda n: copies[n])
            copies[node].meta = dict(node.meta)
        return copies[node]

    for node in segment.nodes:
        copied(node)
    results = tuple(copies[n] for n in segment.outputs)
    output = graph.output(results[0] if len(results) == 1 else results)
    output.meta = {}
    graph.lint()
    return fx.GraphModule(teacher, graph, class_name="Segment").eval()
