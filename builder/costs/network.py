"""The work of a network and of its descendants, for one input, and how fast this machine does it."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from legodnn.builder.blocks import AutoBlockManager
from legodnn.builder.distill.reconstruction import MAX_COLUMNS, POSITIONS
from legodnn.builder.graph.resources import Resources, measure
from legodnn.builder.graph.run import compose
from legodnn.builder.graph.values import metadata

_TIMED_INPUTS = 8
"""Inputs of the batch that a network is timed on. Not tuned: convolutions take as long for each in larger ones."""


@dataclass(frozen=True)
class Part:
    """A segment or a descendant: its weights in bytes; for one input its floating-point operations, the bytes of all
    values in it, which training keeps, and of those that live at once; ``fit_flops`` are those of its reconstruction on
    one input, ``solve_flops`` once."""

    weight_bytes: int
    flops: float
    values_bytes: float
    live_bytes: float
    fit_flops: float = 0.0
    solve_flops: float = 0.0


@dataclass(frozen=True)
class NetworkWork:
    """``segments`` are the teacher's, in order, by name; ``descendants`` by variant and block. ``seconds`` are those of
    one input through the teacher, ``boundary_bytes`` those of all its values between segments."""

    segments: Mapping[str, Part]
    descendants: Mapping[str, Mapping[str, Part]]
    seconds: float
    boundary_bytes: float

    @property
    def flops(self) -> float:
        """The operations of one input through the teacher."""
        return sum(part.flops for part in self.segments.values())

    @property
    def weight_bytes(self) -> int:
        """The bytes of the teacher's weights."""
        return sum(part.weight_bytes for part in self.segments.values())

    def flops_behind(self, name: str) -> float:
        """The operations of one input in the segments behind one."""
        names = list(self.segments)
        return sum(self.segments[later].flops for later in names[names.index(name) + 1 :])


def work_of(blocks: AutoBlockManager) -> NetworkWork:
    """Measure the work of a teacher and derive its descendants to measure theirs; the teacher runs twice."""
    inputs = blocks.input_size[0]
    names = [segment.name for segment in blocks.graph.segments]
    segments = {name: _part(blocks.folded[name], blocks.example_inputs(name), inputs) for name in names}
    descendants: dict[str, dict[str, Part]] = {}
    for variant in blocks.descendant_names:
        descendants[variant] = {}
        for block in blocks.block_names:
            made = blocks.derive(block, variant).module
            descendants[variant][block] = _part(made, blocks.example_inputs(block), inputs, blocks.folded[block])
    boundary = sum(metadata(node).bytes for node in blocks.graph.boundaries) / inputs
    return NetworkWork(segments, descendants, _seconds(blocks), boundary)


def _part(module: fx.GraphModule, inputs: Any, count: int, original: fx.GraphModule | None = None) -> Part:
    found: Resources = measure(module, inputs)
    values = sum(metadata(node).bytes for node in module.graph.nodes if node.op not in ("get_attr", "output"))
    fit, solve = _fit_flops(module, original) if original is not None else (0.0, 0.0)
    return Part(found.weight_bytes, found.flops / count, values / count, found.activation_bytes / count, fit, solve)


def _fit_flops(module: fx.GraphModule, original: fx.GraphModule) -> tuple[float, float]:
    """The operations to sum the normal equations of the layers that lost inputs, for one input on both paths, and to
    solve them."""
    summed = solved = 0.0
    for node in module.graph.nodes:
        weight = getattr(module.get_submodule(str(node.target)), "weight", None) if node.op == "call_module" else None
        if weight is None or weight.dim() < 2:
            continue
        columns = weight[0].numel()
        before: Any = original.get_submodule(str(node.target))
        if columns == before.weight[0].numel() or columns > MAX_COLUMNS:
            continue
        positions = min(POSITIONS, math.prod(metadata(node).shape[2:]))
        summed += 2 * 2.0 * positions * columns**2
        solved += columns**3 / 3
    return summed, solved


def _seconds(blocks: AutoBlockManager) -> float:
    """Seconds of one input through the teacher, in a batch, once it has run."""
    network = compose(blocks.graph, blocks.folded, {})
    repeats = math.ceil(_TIMED_INPUTS / blocks.input_size[0])
    batch = [blocks.arrange(x.repeat(repeats, *(1,) * (x.dim() - 1))) for x in blocks.samples]
    with torch.no_grad():
        for _ in range(2):
            started = time.monotonic()
            network(*batch)
            if blocks.device.type == "cuda":
                torch.cuda.synchronize(blocks.device)
            seconds = time.monotonic() - started
    return seconds / (repeats * blocks.input_size[0])
