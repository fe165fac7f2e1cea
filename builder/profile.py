"""`BlockProfiler`: what every variant costs, in accuracy and in bytes, and what whole selections can be expected to do.

A variant is judged with all other blocks original. The part of the network before its block is the same for all
variants of the block, so it is run once: activations of the whole test set are carried from block to block, and each
variant runs from its block on. The manager's own accuracy function does the judging; it is given a network that
ignores the images and goes on from the recorded activations.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

from legodnn.builder import costs
from legodnn.builder.blocks import AutoBlockManager
from legodnn.builder.compose import Composition, Values, forget, run_from, run_segment
from legodnn.builder.distill.retrainer import trained_results
from legodnn.builder.graph.values import tensors_in
from legodnn.builder.managers.abstract import AbstractModelManager
from legodnn.builder.predictor import fit_predictor, frontier
from legodnn.builder.progress import progress
from legodnn.builder.store import Stage, fingerprint, load_json, save_json
from legodnn.shared.errors import DataError, ModelError
from legodnn.shared.tables import ORIGINAL, Predictor

RECORDED_BYTES = 4 * 1024**3
"""Memory for recorded activations; batches beyond it are run from the images every time."""


@dataclass
class Profile:
    """The tables: costs of every variant, and the predictor for selections.

    ``accuracy_loss`` and ``cost`` are by block and variant (accuracies as fractions); ``costs`` is by segment and
    variant; ``compositions`` lists what the predictor was fitted on.
    """

    teacher_accuracy: float
    accuracy_loss: dict[str, dict[str, float]]
    cost: dict[str, dict[str, float]]
    costs: dict[str, dict[str, costs.Costs]]
    predictor: Predictor
    compositions: list[dict[str, Any]] = field(default_factory=list)

    def to_plain(self) -> dict[str, Any]:
        """Dicts, lists, strings and numbers."""
        return {**asdict(self), "predictor": self.predictor.to_plain()}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Profile:
        """The inverse of `to_plain`."""
        table = {s: {v: costs.Costs(**c) for v, c in row.items()} for s, row in plain["costs"].items()}
        return cls(**{**plain, "costs": table, "predictor": Predictor.from_plain(plain["predictor"])})


class BlockProfiler:
    """Measures all variants on a test set.

    Args:
        teacher_model: the network the blocks were found in; ``block_manager`` holds its traced copy.
        block_manager: finds and makes the blocks.
        model_manager: its ``get_model_acc`` judges.
        trained_blocks_dir: what `BlockRetrainer` wrote; the profile goes into ``profile/`` inside.
        test_loader: batches as the manager takes them, in an order that depends on torch's seed at most.
        model_input_size: shape of the input with the batch dimension.
        device: where to measure.
        compositions: whole selections to measure for the predictor.
        data_name: what the test data is called; a different name means the profile is made anew.
    """

    def __init__(
        self,
        teacher_model: nn.Module,
        block_manager: AutoBlockManager,
        model_manager: AbstractModelManager,
        trained_blocks_dir: str | Path,
        test_loader: Iterable[Any],
        model_input_size: Sequence[int],
        device: str | torch.device | None = None,
        *,
        compositions: int = 12,
        data_name: str = "",
    ) -> None:
        del teacher_model, model_input_size, device  # the block manager carries them; kept for the method's callers
        self.blocks = block_manager
        self.manager = model_manager
        self.loader = test_loader
        self.compositions = compositions
        self.trained = trained_stage(trained_blocks_dir)
        made_from = fingerprint(block_manager.fingerprint, self.trained.inputs, compositions, data_name)
        self.stage = Stage(Path(trained_blocks_dir) / "profile", made_from)

    def profile_all_blocks(self) -> Profile:
        """Measure every variant and fit the predictor, or read what was measured before.

        Raises `DataError` for a test loader that yields nothing or changes its order, `ModelError` for a teacher whose
        answers are not finite.
        """
        if self.stage.done:
            return Profile.from_plain(load_json(self.stage.path("profile.json")))
        self.stage.begin()
        results = [r for r in trained_results(self.trained) if r.method != "failed"]
        modules = {b: {ORIGINAL: self.blocks.folded[b]} for b in self.blocks.block_names}
        for result in results:
            modules[result.block][result.variant] = self.blocks.load(self.trained, result.block, result.variant)
        table = self._costs(modules)
        self.blocks.arrange_weights(m for row in [*modules.values(), self.blocks.folded] for m in row.values())
        profile = self._measure(modules, table)
        save_json(self.stage.path("profile.json"), profile.to_plain())
        self.stage.finish()
        return profile

    def _costs(self, modules: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, costs.Costs]]:
        table: dict[str, dict[str, costs.Costs]] = {}
        for segment in self.blocks.graph.segments:
            row = modules.get(segment.name, {ORIGINAL: self.blocks.folded[segment.name]})
            inputs = self.blocks.example_inputs(segment.name)
            table[segment.name] = {name: costs.measure(module, inputs) for name, module in row.items()}
        return table

    def _measure(self, modules: Mapping[str, Mapping[str, Any]], table: dict[str, dict[str, costs.Costs]]) -> Profile:
        variants = sum(len(row) - 1 for row in modules.values())
        with progress("profile", 1 + variants + self.compositions, unit="evaluation") as bar:
            recording = _Recording(self.blocks, self.manager, self.loader)
            teacher = recording.teacher_accuracy
            bar.advance()
            loss: dict[str, dict[str, float]] = {}
            cost: dict[str, dict[str, float]] = {}
            for position, segment in enumerate(self.blocks.graph.segments):
                if segment.is_block:
                    loss[segment.name], cost[segment.name] = {ORIGINAL: 0.0}, {ORIGINAL: 0.0}
                    for name, module in modules[segment.name].items():
                        if name != ORIGINAL:
                            accuracy, moved = recording.judge({segment.name: module})
                            loss[segment.name][name], cost[segment.name][name] = teacher - accuracy, moved
                            bar.advance()
                recording.carry(position)
            sizes = {b: {v: float(c.weight_bytes) for v, c in table[b].items()} for b in cost}
            measured = []
            recording.rewind()
            for selection in frontier(cost, sizes, self.compositions):
                accuracy, moved = recording.judge({b: modules[b][v] for b, v in selection.items()})
                total = sum(cost[b][v] for b, v in selection.items())
                measured.append({"selection": selection, "cost": total, "accuracy": accuracy, "moved": moved})
                bar.advance()
        predictor = fit_predictor(teacher, [(m["cost"], teacher - m["accuracy"]) for m in measured])
        return Profile(teacher, loss, cost, table, predictor, measured)


def trained_stage(directory: str | Path) -> Stage:
    """The finished training in a directory, whatever its settings were."""
    return Stage(directory, Stage(directory, "").recorded_inputs)


class _Recording:
    """Activations of the whole test set at one position of the network, and the teacher's answers.

    What does not fit into the memory there is for it is left out: such batches are run from the images.
    """

    def __init__(self, blocks: AutoBlockManager, manager: AbstractModelManager, loader: Iterable[Any]) -> None:
        self.blocks = blocks
        self.manager = manager
        self.loader = loader
        self.seed = torch.initial_seed()
        self.position = 0
        self.checks: list[float] = []
        self.values: list[Values | None] = []
        self.answers: list[list[Tensor] | None] = []
        self.finite = True
        self.teacher_accuracy = self._accuracy(_FirstPass(self))
        if not self.finite:
            raise ModelError("the teacher's answers on the test images are not finite numbers")

    def _accuracy(self, network: nn.Module) -> float:
        torch.manual_seed(self.seed)
        with torch.no_grad():
            return float(self.manager.get_model_acc(network.eval(), self.loader, self.blocks.device))

    def judge(self, chosen: Mapping[str, nn.Module]) -> tuple[float, float]:
        """Accuracy with the ``chosen`` blocks, all at or behind the position; and how far the output moves."""
        replay = _Replay(self, chosen)
        accuracy = self._accuracy(replay)
        if replay.number != len(self.checks):
            raise DataError("the test loader yields a different number of batches in every pass")
        return accuracy, replay.squared / max(replay.variance, 1e-30)

    def note(self, inputs: Sequence[Tensor], answers: list[Tensor]) -> None:
        """Remember a batch of the first pass, as far as there is room."""
        self.checks.append(_check(inputs))
        self.finite = self.finite and all(bool(torch.isfinite(t).all()) for t in answers)
        values = dict(zip(self.blocks.graph.inputs, map(self.blocks.arrange, inputs), strict=True))
        room = RECORDED_BYTES - self._held()
        self.answers.append(answers if _bytes(answers) <= room / 2 else None)
        self.values.append(values if _bytes(values.values()) <= room / 2 else None)

    def carry(self, position: int) -> None:
        """Move the recorded activations past the segment at ``position``."""
        segment = self.blocks.graph.segments[position]
        for number, held in enumerate(self.values):
            if held is None:
                continue
            self.values[number] = None
            values = dict(held)
            with torch.no_grad():
                run_segment(segment, self.blocks.folded[segment.name], values)
            forget(self.blocks.graph, values, position + 1)
            if self._held() + _bytes(values.values()) <= RECORDED_BYTES:
                self.values[number] = values
        self.position = position + 1

    def rewind(self) -> None:
        """Back to the network's inputs, which the loader gives."""
        self.position = 0
        self.values = [None] * len(self.checks)

    def _held(self) -> int:
        answers = sum(_bytes(a) for a in self.answers if a is not None)
        return answers + sum(_bytes(v.values()) for v in self.values if v is not None)


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(t.numel() * t.element_size() for t in tensors)


def _check(inputs: Sequence[Tensor]) -> float:
    """A number that tells one batch from another."""
    return sum(float(x.double().sum()) + x.shape[0] for x in inputs)


class _FirstPass(nn.Module):
    """The teacher; notes its inputs and answers."""

    def __init__(self, recording: _Recording) -> None:
        super().__init__()
        self.recording = recording
        blocks = recording.blocks
        self.network = Composition(blocks.graph, [blocks.folded[s.name] for s in blocks.graph.segments])

    def forward(self, *inputs: Tensor) -> Any:
        answer = self.network(*map(self.recording.blocks.arrange, inputs))
        self.recording.note(inputs, tensors_in(answer))
        return answer


class _Replay(nn.Module):
    """A composition that goes on from recorded activations, batch after batch."""

    def __init__(self, recording: _Recording, chosen: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.recording = recording
        blocks = recording.blocks
        self.segments = [chosen.get(s.name, blocks.folded[s.name]) for s in blocks.graph.segments]
        self.teacher = [blocks.folded[s.name] for s in blocks.graph.segments]
        self.number = 0
        self.squared = 0.0
        self.variance = 0.0

    def forward(self, *inputs: Tensor) -> Any:
        recording, graph = self.recording, self.recording.blocks.graph
        if self.number >= len(recording.checks) or recording.checks[self.number] != _check(inputs):
            raise DataError("the test loader's order changes from pass to pass; switch shuffling off")
        images = dict(zip(graph.inputs, map(recording.blocks.arrange, inputs), strict=True))
        held = recording.values[self.number]
        values = run_from(graph, self.segments, *((images, 0) if held is None else (held, recording.position)))
        answer = graph.answer(values)
        wanted = recording.answers[self.number]
        if wanted is None:
            wanted = tensors_in(graph.answer(run_from(graph, self.teacher, images, 0)))
        for mine, teachers in zip(tensors_in(answer), wanted, strict=True):
            self.squared += float((mine - teachers).double().square().sum())
            self.variance += float((teachers.double() - teachers.double().mean()).square().sum())
        self.number += 1
        return answer
