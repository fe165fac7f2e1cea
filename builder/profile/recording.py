"""Activations of the test set, recorded at one position of the network after the other.

The part of the network before a block is the same for all variants of the block and runs once. The manager's own
accuracy function evaluates a network that ignores the images and starts from the recorded activations.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor, fx

from legodnn.builder.blocks import AutoBlockManager
from legodnn.builder.graph.data_dependence import comparable
from legodnn.builder.graph.run import Values, run_segments
from legodnn.builder.graph.values import metadata, tensors_in
from legodnn.builder.managers.abstract import AbstractModelManager
from legodnn.builder.managers.loss import squared_deviation, squared_distance
from legodnn.builder.profile.recheck import checksum
from legodnn.builder.profile.teacher import Counted
from legodnn.shared.errors import DataError, ModelError, is_shortage

RECORDED_BYTES = 3 * 1024**3
"""Memory for recorded activations; batches beyond it are run from the images every time. Chosen so that ResNet-50 at
224 pixels in batches of 64 needs less than 6 GiB: networks, libraries and a batch that runs take 2 GiB."""


class Recording:
    """Activations of the test set at one position of the network, and the teacher's values that networks are compared
    by.

    ``teacher_accuracy`` was measured on ``inputs`` inputs, 0 where batches do not tell. ``originals`` has the original
    of every segment, by default those of ``blocks``. Batches beyond `RECORDED_BYTES` are not recorded and run from the
    images. Raises `DataError` for a loader that changes its order, `ModelError` for a teacher whose outputs, or the
    values it is compared by, are not finite.
    """

    def __init__(
        self,
        blocks: AutoBlockManager,
        manager: AbstractModelManager,
        loader: Iterable[Any],
        originals: Mapping[str, nn.Module] | None = None,
    ) -> None:
        self.blocks = blocks
        self.originals: Mapping[str, nn.Module] = blocks.folded if originals is None else originals
        self.manager = manager
        self.loader = loader
        self.modules = [self.originals[s.name] for s in blocks.graph.segments]
        self.seed = torch.initial_seed()
        self.position = 0
        self.checks: list[float] = []
        self.values: list[Values | None] = []
        self.wanted: list[Values | None] = []
        self.variance: dict[fx.Node, float] = {}
        self.compared = {n for b in blocks.block_names for n in compared(blocks, [b])}
        self.finite = True
        counted = Counted(loader)
        self.teacher_accuracy = self._accuracy(_FirstPass(self), counted)
        self.inputs = counted.inputs
        if not self.finite:
            raise ModelError("the teacher's answers on the test images are not finite numbers")
        if not math.isfinite(self.teacher_accuracy):
            raise ModelError(f"the manager's get_model_acc says {self.teacher_accuracy} for the teacher")
        if not all(map(math.isfinite, self.variance.values())):
            raise ModelError("values the teacher selects by are not finite numbers on the test images")

    def _accuracy(self, network: nn.Module, loader: Iterable[Any] | None = None) -> float:
        torch.manual_seed(self.seed)
        with torch.no_grad():
            loader = self.loader if loader is None else loader
            try:
                return float(self.manager.get_model_acc(network.eval(), loader, self.blocks.device))
            except Exception as error:
                if is_shortage(error):
                    raise MemoryError("a batch of the test loader does not fit; make its batches smaller") from error
                raise

    def evaluate(self, chosen: Mapping[str, nn.Module]) -> tuple[float, float] | None:
        """Accuracy with the ``chosen`` blocks, all at or behind the position; and the distortion, the squared distance
        from the teacher relative to the variance. None where outputs, or the accuracy, are not finite numbers."""
        replay = _Replay(self, chosen)
        try:
            accuracy = self._accuracy(replay)
        except _NotFinite:  # so that no metric has to read such numbers
            return None
        if replay.number != len(self.checks):
            raise DataError("the test loader yields a different number of batches in every pass")
        moved = replay.moved()
        return (accuracy, moved) if math.isfinite(accuracy) and math.isfinite(moved) else None

    def note(self, inputs: Sequence[Tensor], answer: Any, teachers: Values) -> None:
        """Record a batch of the first pass, as far as `RECORDED_BYTES` allows."""
        self.checks.append(checksum(inputs))
        self.finite = self.finite and all(bool(torch.isfinite(t).all()) for t in tensors_in(answer))
        values = dict(zip(self.blocks.graph.inputs, map(self.blocks.arrange, inputs), strict=True))
        wanted = {n: teachers[n] for n in self.compared}
        for node, value in wanted.items():
            self.variance[node] = self.variance.get(node, 0.0) + squared_deviation(value)
        capacity = RECORDED_BYTES - self._held()
        self.wanted.append(wanted if _bytes(wanted.values()) <= capacity / 2 else None)
        self.values.append(values if _bytes(values.values()) <= capacity / 2 else None)

    def carry(self, position: int) -> None:
        """Move the recorded activations past the segment at ``position``."""
        for number, held in enumerate(self.values):
            if held is None:
                continue
            self.values[number] = None
            with torch.no_grad():
                values = run_segments(self.blocks.graph, self.modules, held, position, position + 1)
            if self._held() + _bytes(values.values()) <= RECORDED_BYTES:
                self.values[number] = values
        self.position = position + 1

    def rewind(self) -> None:
        """Go back to the network's inputs and drop the recorded activations."""
        self.position = 0
        self.values = [None] * len(self.checks)

    def teacher(self, images: Values) -> Values:
        """The teacher's outputs and the values it is compared by, for a batch."""
        return run_segments(self.blocks.graph, self.modules, images, keep=self.compared)

    def _held(self) -> int:
        wanted = sum(_bytes(w.values()) for w in self.wanted if w is not None)
        return wanted + sum(_bytes(v.values()) for v in self.values if v is not None)


def compared(blocks: AutoBlockManager, changed: Sequence[str]) -> list[fx.Node]:
    """The floating-point values by which networks that differ in these blocks are compared, see `comparable`."""
    return [n for n in comparable(blocks.graph, changed) if (metadata(n).dtype or torch.float32).is_floating_point]


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(t.numel() * t.element_size() for t in tensors)


class _FirstPass(nn.Module):
    """The teacher; records its inputs and outputs."""

    def __init__(self, recording: Recording) -> None:
        super().__init__()
        self.recording = recording

    def forward(self, *inputs: Tensor) -> Any:
        blocks = self.recording.blocks
        values = self.recording.teacher(dict(zip(blocks.graph.inputs, map(blocks.arrange, inputs), strict=True)))
        answer = blocks.graph.answer(values)
        self.recording.note(inputs, answer, values)
        return answer


class _NotFinite(Exception):
    """A composition's outputs are not finite numbers."""


class _Replay(nn.Module):
    """A composition that starts from recorded activations, batch after batch."""

    def __init__(self, recording: Recording, chosen: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.recording = recording
        blocks = recording.blocks
        self.segments = [chosen.get(s.name, recording.originals[s.name]) for s in blocks.graph.segments]
        self.compared = compared(blocks, list(chosen))
        self.number = 0
        self.squared = dict.fromkeys(self.compared, 0.0)

    def moved(self) -> float:
        """The distortion over all batches: squared distance relative to the variance, averaged over the compared
        values."""
        parts = [self.squared[n] / max(self.recording.variance[n], 1e-30) for n in self.compared]
        return sum(parts) / max(1, len(parts))

    def forward(self, *inputs: Tensor) -> Any:
        recording, graph = self.recording, self.recording.blocks.graph
        if self.number >= len(recording.checks) or recording.checks[self.number] != checksum(inputs):
            raise DataError("the test loader's order changes from pass to pass; switch shuffling off")
        images = dict(zip(graph.inputs, map(recording.blocks.arrange, inputs), strict=True))
        held, position = recording.values[self.number], recording.position
        start, position = (images, 0) if held is None else (held, position)
        values = run_segments(graph, self.segments, start, position, keep=self.compared)
        wanted = recording.wanted[self.number]
        if wanted is None:
            wanted = recording.teacher(images)
        for node in self.compared:
            self.squared[node] += squared_distance(values[node], wanted[node])
        answer = graph.answer(values)
        if not all(bool(torch.isfinite(t).all()) for t in tensors_in(answer)):
            raise _NotFinite
        self.number += 1
        return answer
