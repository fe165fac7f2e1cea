"""`BlockProfiler`: the accuracy and distortion of every variant, and the predictor for whole selections.

A variant is evaluated with all other blocks original. The part of the network before its block is the same for all
variants of the block and runs once: activations of the whole test set are carried from block to block, and each variant
runs from its block on. The manager's own accuracy function evaluates a network that ignores the images and starts from
the recorded activations.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn

from legodnn.builder.blocks import AutoBlockManager
from legodnn.builder.distill.retrainer import trained_results
from legodnn.builder.graph.resources import Resources, measure
from legodnn.builder.graph.run import compose
from legodnn.builder.graph.stored import prepare
from legodnn.builder.managers.abstract import AbstractModelManager
from legodnn.builder.profile.frontier import frontier, uniform
from legodnn.builder.profile.predictor import fit_predictor
from legodnn.builder.profile.recheck import judged
from legodnn.builder.profile.recording import Recording
from legodnn.builder.profile.tables import Profile
from legodnn.builder.workdir.progress import progress
from legodnn.builder.workdir.stage import Stage, fingerprint, load_json, save_json
from legodnn.shared.bundle.manifest import ORIGINAL


class BlockProfiler:
    """Measures all variants on a test set.

    Args:
        teacher_model: the network the blocks were found in; ``block_manager`` holds its traced copy.
        block_manager: finds and makes the blocks.
        model_manager: its ``get_model_acc`` evaluates.
        trained_blocks_dir: what `BlockRetrainer` wrote; the profile goes into ``profile/`` inside.
        test_loader: batches as the manager takes them, in an order that depends on torch's seed at most.
        model_input_size: shape of the input with the batch dimension.
        device: where to measure.
        compositions: whole selections to measure for the predictor.
        data_name: identifies the test data; under another name the profile is made again.
        precision: that of the bundle, so that what is measured are the weights that it will hold.
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
        precision: str = "fp32",
    ) -> None:
        del teacher_model, model_input_size, device  # the block manager has them; kept in the signature for callers
        self.blocks = block_manager
        self.manager = model_manager
        self.loader = test_loader
        self.compositions = compositions
        self.precision = precision
        self.trained = trained_stage(trained_blocks_dir)
        settings = [compositions, data_name, precision, [field.name for field in fields(Profile)]]
        made_from = fingerprint(block_manager.fingerprint, self.trained.inputs, settings)
        self.stage = Stage(Path(trained_blocks_dir) / "profile", made_from)

    def profile_all_blocks(self) -> Profile:
        """Measure every variant and fit the predictor, or read the profile of a finished run.

        Raises `DataError` for a test loader that yields nothing or changes its order, `ModelError` for a teacher whose
        outputs are not finite, `WorkError` where training has not finished.
        """
        if self.stage.done:
            return Profile.from_plain(load_json(self.stage.path("profile.json")))
        self.stage.begin()
        results = [r for r in trained_results(self.trained) if r.method != "failed"]
        modules = {s.name: {ORIGINAL: self.blocks.folded[s.name]} for s in self.blocks.graph.segments}
        for result in results:
            modules[result.block][result.variant] = self.blocks.load(self.trained, result.block, result.variant)
        table = self._resources(modules)
        stored = self._stored(modules)
        del modules  # half the memory of all weights
        profile = self._measure(stored, table)
        save_json(self.stage.path("profile.json"), profile.to_plain())
        self.stage.finish()
        return profile

    def _stored(self, modules: Mapping[str, Mapping[str, nn.Module]]) -> dict[str, dict[str, nn.Module]]:
        """The modules with the weights that the bundle will hold, on the device they are measured on."""
        made = {
            segment: {name: prepare(module, self.precision).to(self.blocks.device) for name, module in row.items()}
            for segment, row in modules.items()
        }
        self.blocks.arrange_weights(module for row in made.values() for module in row.values())
        return made

    def _resources(self, modules: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Resources]]:
        table: dict[str, dict[str, Resources]] = {}
        for name, row in modules.items():
            inputs = self.blocks.example_inputs(name)
            table[name] = {variant: measure(module, inputs) for variant, module in row.items()}
        return table

    def _measure(self, modules: Mapping[str, Mapping[str, Any]], table: dict[str, dict[str, Resources]]) -> Profile:
        variants = sum(len(row) - 1 for row in modules.values())
        selections = self.compositions + len(self.blocks.sparsities)
        with progress("profile", 1 + variants + selections, unit="evaluation") as bar:
            originals = {name: row[ORIGINAL] for name, row in modules.items()}
            recording = Recording(self.blocks, self.manager, self.loader, originals)
            teacher = recording.teacher_accuracy
            network = compose(self.blocks.graph, originals, {})
            recheck = judged(self.manager, network, self.loader, self.blocks.device)
            bar.advance()
            loss: dict[str, dict[str, float]] = {}
            distortion: dict[str, dict[str, float]] = {}
            for position, segment in enumerate(self.blocks.graph.segments):
                if segment.is_block:
                    loss[segment.name], distortion[segment.name] = {ORIGINAL: 0.0}, {ORIGINAL: 0.0}
                    for name, module in modules[segment.name].items():
                        if name != ORIGINAL:
                            accuracy, moved = recording.evaluate({segment.name: module})
                            loss[segment.name][name], distortion[segment.name][name] = teacher - accuracy, moved
                            bar.advance()
                recording.carry(position)
            sizes = {b: {v: float(c.weight_bytes) for v, c in table[b].items()} for b in distortion}
            recording.rewind()

            def measured(selection: Mapping[str, str]) -> dict[str, Any]:
                accuracy, moved = recording.evaluate({b: modules[b][v] for b, v in selection.items()})
                bar.advance()
                total = sum(distortion[b][v] for b, v in selection.items())
                return {"selection": selection, "distortion": total, "accuracy": accuracy, "moved": moved}

            compositions = [measured(selection) for selection in frontier(distortion, sizes, self.compositions)]
            baseline = [measured(selection) for selection in uniform(distortion)]
        predictor = fit_predictor(teacher, [(m["distortion"], teacher - m["accuracy"]) for m in compositions])
        chance = self.manager.get_trivial_acc(self.loader)
        return Profile(
            teacher, loss, distortion, table, predictor, compositions, baseline, chance, self.precision, recheck
        )


def trained_stage(directory: str | Path) -> Stage:
    """The finished training in a directory, whatever its settings were."""
    return Stage(directory, Stage(directory, "").recorded_inputs)
