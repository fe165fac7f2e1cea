"""The inputs of blocks: the teacher's activations, and those of compositions of descendants.

For every batch the teacher runs once and its values at all segment boundaries are kept. Then one *path* per sparsity is
run, one after the other: the composition of all descendants of that sparsity. A descendant's inputs come from the
teacher or from its path, so that it is also trained on the outputs of pruned blocks; its target is always the teacher's
output for the same image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor, fx

from legodnn.builder.blocks import AutoBlockManager
from legodnn.builder.graph.data_dependence import is_data_dependent
from legodnn.builder.graph.run import Values, forget, run_segment, run_segments
from legodnn.builder.graph.segments import Segment
from legodnn.shared.errors import DataError, is_shortage

Visit = Callable[[Segment, "Batch", str], None]
"""Called with every block, a batch and the name of its path; sets the block's output in that path."""


@dataclass
class Batch:
    """The values of one batch: the teacher's at the boundaries, and those of paths so far, by variant name."""

    teacher: Values
    paths: dict[str, Values] = field(default_factory=dict)

    def seen(self, path: str | None, node: fx.Node) -> Tensor:
        """A value in a path, or the teacher's where ``path`` is None."""
        return self.teacher[node] if path is None else self.paths[path][node]


class TeacherTap(nn.Module):
    """The teacher, composed of its segments; keeps the values at their boundaries when it runs."""

    def __init__(self, blocks: AutoBlockManager) -> None:
        super().__init__()
        self.arrange = blocks.arrange
        self.graph = blocks.graph
        self.segments = nn.ModuleList([blocks.folded[s.name] for s in blocks.graph.segments])
        self.values: Values | None = None

    def forward(self, *inputs: Tensor) -> Any:
        """Run the teacher; its boundary values are in ``values`` afterwards."""
        values = {n: self.arrange(x) for n, x in zip(self.graph.inputs, inputs, strict=True)}
        self.values = run_segments(self.graph, list(self.segments), values, keep=self.graph.boundaries)
        return self.graph.answer(self.values)

    def batches(self, blocks: AutoBlockManager, loader: Iterable[Any]) -> Iterable[Batch]:
        """The teacher's values for every batch of a loader. Raises `DataError` where a batch does not reach it,
        `MemoryError` where one is too large."""
        for number, data in enumerate(loader):
            self.values = None
            try:
                with torch.no_grad():
                    blocks.model_manager.forward_to_gen_mid_data(self, data, blocks.device)
            except (RuntimeError, MemoryError, TypeError, ValueError, AttributeError, IndexError, KeyError) as error:
                if isinstance(error, DataError):
                    raise
                if is_shortage(error):
                    raise MemoryError(f"batch {number} of the loader does not fit; make its batches smaller") from error
                raise DataError(f"batch {number} of the loader does not run through the network: {error}") from error
            if self.values is None:
                raise DataError(f"batch {number}: the model manager did not run the network")
            yield Batch(self.values)


def walk(blocks: AutoBlockManager, batch: Batch, names: Sequence[str], visit: Visit) -> None:
    """Run the paths ``names`` through the segments, calling ``visit`` for blocks and `run_trunk` for the others.

    The paths run one after the other, which takes the memory of one path. The trunk behind the last block is not run.
    A path's values are freed after their last reader, the teacher's after that in the last path. Raises `MemoryError`
    where the batch is too large: it cannot be divided, since the gradient would be another.
    """
    images = len(batch.teacher[blocks.graph.inputs[0]])
    try:
        _walk(blocks, batch, names, visit)
    except (RuntimeError, MemoryError) as error:
        if is_shortage(error):
            raise MemoryError(f"a batch of {images} does not fit; make the loader's batches smaller") from error
        raise


def _walk(blocks: AutoBlockManager, batch: Batch, names: Sequence[str], visit: Visit) -> None:
    graph = blocks.graph
    last = max(i for i, s in enumerate(graph.segments) if s.is_block)
    for name in names:
        path = {n: batch.teacher[n] for n in graph.inputs}
        batch.paths = {name: path}
        freed = (batch.teacher, path) if name == names[-1] else (path,)
        for position, segment in enumerate(graph.segments[: last + 1]):
            if segment.is_block:
                visit(segment, batch, name)
            else:
                run_trunk(blocks, batch, segment)
            for values in freed:
                forget(graph, values, position + 1, ())


def run_trunk(blocks: AutoBlockManager, batch: Batch, segment: Segment) -> None:
    """Run a segment without variants in every path.

    A path that still has the teacher's values shares the teacher's output. Behind a data-dependent selection every path
    has the teacher's values, since those of another selection cannot be compared with them.
    """
    for values in batch.paths.values():
        if is_data_dependent(segment) or all(values[n] is batch.teacher[n] for n in segment.inputs):
            values.update({n: batch.teacher[n] for n in segment.outputs})
        else:
            with torch.no_grad():
                run_segment(segment, blocks.folded[segment.name], values)


def share_missing(batch: Batch, segment: Segment, path: str) -> None:
    """Give the teacher's output of this block to a path without a descendant of it."""
    batch.paths[path][segment.outputs[0]] = batch.teacher[segment.outputs[0]]
