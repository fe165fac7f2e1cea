"""The reconstruction of one sparsity's descendants, block after block, on images of the training split."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import torch

from legodnn.builder.blocks import AutoBlockManager
from legodnn.builder.distill import reconstruction
from legodnn.builder.distill.paths import Batch, run_trunk, share_missing
from legodnn.builder.graph.run import Values, forget, run_segment
from legodnn.builder.graph.segments import SegmentGraph
from legodnn.builder.graph.values import metadata
from legodnn.builder.prune.derive import Descendant
from legodnn.builder.workdir.progress import progress

CALIBRATION_BYTES = 2 * 1024**3
"""Memory for the activations that the reconstruction is solved on: the teacher's and one path's, as far as they are
still read. Fewer images are used where they would take more. Not tuned."""


def images_that_fit(graph: SegmentGraph, asked: int, capacity: int = CALIBRATION_BYTES) -> int:
    """How many of the images asked for can be calibrated on at once: at least one."""
    return max(1, min(asked, capacity // max(1, 2 * _live_bytes(graph))))


def reconstruct(
    blocks: AutoBlockManager, variant: str, descendants: Mapping[str, Descendant], inputs: Sequence[Values]
) -> None:
    """Solve the descendants of one variant, by block, in the order of the blocks; their weights are changed in place.

    ``inputs`` are the network's inputs, batch by batch. Every block is fitted on the teacher's activations and on those
    of the descendants before it.
    """
    batches = [Batch(dict(values), {variant: dict(values)}) for values in inputs]
    last = max(i for i, s in enumerate(blocks.graph.segments) if s.is_block)
    with progress(f"reconstruction, {variant}", len(descendants), unit="fit") as bar:
        for position, segment in enumerate(blocks.graph.segments[: last + 1]):
            original = blocks.folded[segment.name]
            with torch.no_grad():
                for batch in batches:
                    run_segment(segment, original, batch.teacher)
            descendant = descendants.get(segment.name)
            source, target = segment.inputs[0], segment.outputs[0]
            if descendant is not None:
                seen = [reconstruction.Sample(b.seen(path, source), b.teacher[source]) for path in (None, variant)
                        for b in batches]  # fmt: skip
                reconstruction.fit(original, descendant, blocks.channels[segment.name], seen)
                bar.advance()
            for batch in batches:
                if descendant is not None:
                    with torch.no_grad():
                        batch.paths[variant][target] = descendant.module(batch.paths[variant][source])
                elif segment.is_block:
                    share_missing(batch, segment, variant)
                else:
                    run_trunk(blocks, batch, segment)
                for values in (batch.teacher, batch.paths[variant]):
                    forget(blocks.graph, values, position + 1, ())


def first_images(batches: Iterable[Values], images: int) -> list[Values]:
    """The first ``images`` of batches of the network's inputs, the last batch cut."""
    taken: list[Values] = []
    for values in batches:
        size = len(next(iter(values.values())))
        taken.append({node: value[:images] for node, value in values.items()} if size > images else values)
        images -= size
        if images <= 0:
            break
    return taken


def _live_bytes(graph: SegmentGraph) -> int:
    """The most bytes that the values of one image take between segments, while one is run."""
    live = set(graph.inputs)
    most = 0
    for position, segment in enumerate(graph.segments):
        live.update(segment.outputs)
        most = max(most, sum(_bytes_per_image(node) for node in live))
        read_later = {source for later in graph.segments[position + 1 :] for source in later.inputs}
        live &= read_later | set(graph.outputs)
    return most


def _bytes_per_image(node: object) -> int:
    found = metadata(node)  # type: ignore[arg-type]
    if not found.is_tensor:
        return 0
    return math.prod(found.shape[1:]) * (found.dtype or torch.float32).itemsize
