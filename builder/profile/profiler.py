"""`BlockProfiler`: the accuracy and distortion of every variant, and the predictor for whole selections.

A variant is evaluated with all other blocks original. The part of the network before its block is the same for all
variants of the block and runs once: activations of the whole test set are carried from block to block, and each variant
runs from its block on. The manager's own accuracy function evaluates a network that ignores the images and starts from
the recorded activations.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn

from legodnn.builder.blocks import AutoBlockManager
from legodnn.builder.distill.results import FAILED, read_results, trained_stages
from legodnn.builder.graph.resources import Resources, measure
from legodnn.builder.graph.run import compose
from legodnn.builder.graph.stored import prepare
from legodnn.builder.managers.abstract import AbstractModelManager, manager_code
from legodnn.builder.profile.frontier import frontier, uniform
from legodnn.builder.profile.predictor import fit_predictor
from legodnn.builder.profile.recheck import judged
from legodnn.builder.profile.recording import Recording
from legodnn.builder.profile.tables import Profile
from legodnn.builder.profile.teacher import teacher_judgement
from legodnn.builder.workdir.files import load_json, save_json
from legodnn.builder.workdir.progress import progress
from legodnn.builder.workdir.stage import Inputs, Stage
from legodnn.shared.bundle.manifest import ORIGINAL

PROFILE = "profile.json"
"""The file of the stage."""

Table = dict[str, dict[str, float]]
"""A number by block and variant."""


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
        data_name: identifies the test data, by a text or by several with names; under others the profile is made
            again.
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
        data_name: str | Inputs = "",
        precision: str = "fp32",
    ) -> None:
        del teacher_model, model_input_size, device  # the block manager has them; kept in the signature for callers
        self.blocks = block_manager
        self.manager = model_manager
        self.loader = test_loader
        self.compositions = compositions
        self.precision = precision
        self.trained = Path(trained_blocks_dir)
        self.settings = {
            "profile.compositions": repr(compositions),
            "bundle.precision": precision,
            "profile's fields": ", ".join(field.name for field in fields(Profile)),
            **manager_code(model_manager),
            **({"data.test": data_name} if isinstance(data_name, str) else data_name),
        }

    def profile_all_blocks(self) -> Profile:
        """Measure every variant and fit the predictor, or read the profile of a finished run.

        Raises `DataError` for a test loader that yields nothing or changes its order, `ModelError` for a teacher whose
        outputs are not finite, `WorkError` where training has not finished.
        """
        trained = trained_stages(self.blocks, self.trained)
        stage = self.stage([found.inputs for found in trained.values()])
        if not stage.done:
            with stage.making([PROFILE]):
                save_json(stage.path(PROFILE), self._profile(trained).to_plain())
        return Profile.from_plain(load_json(stage.path(PROFILE)))

    def stage(self, trained: Sequence[Inputs]) -> Stage:
        """The stage of the profile of descendants that were trained from these inputs, those of every variant."""
        names = {name: None for inputs in trained for name in inputs}
        together = {name: "; ".join(dict.fromkeys(inputs.get(name, "none") for inputs in trained)) for name in names}
        return Stage(self.trained / "profile", {**together, **self.settings})

    def _profile(self, trained: Mapping[str, Stage]) -> Profile:
        modules = {s.name: {ORIGINAL: self.blocks.folded[s.name]} for s in self.blocks.graph.segments}
        for result in read_results(trained):
            if result.method != FAILED:
                module = self.blocks.load(trained[result.variant], result.block).module
                modules[result.block][result.variant] = module
        table = self._resources(modules)
        stored = self._stored(modules)
        del modules  # half the memory of all weights
        return self._measure(stored, table)

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
            network = compose(self.blocks.graph, originals, {})
            recheck = judged(self.manager, network, self.loader, self.blocks.device)
            torch.manual_seed(recording.seed)
            judgement = teacher_judgement(self.manager, network, self.loader, self.blocks.device)
            bar.advance()
            loss, distortion, left_out = self._variants(recording, modules, bar)
            table = {s: {v: c for v, c in row.items() if v in distortion.get(s, row)} for s, row in table.items()}
            sizes = {b: {v: float(c.weight_bytes) for v, c in table[b].items()} for b in distortion}
            recording.rewind()
            compositions, baseline = (
                [self._measured(recording, modules, distortion, selection, bar) for selection in selections]
                for selections in (frontier(distortion, sizes, self.compositions), uniform(distortion))
            )
        teacher, chance = recording.teacher_accuracy, self.manager.get_trivial_acc(self.loader)
        # A selection that overflows, though none of its variants does alone, has lost everything.
        least = chance or 0.0
        lost = [(m["distortion"], teacher - (least if m["accuracy"] is None else m["accuracy"])) for m in compositions]
        broken = sum(m["accuracy"] is None for m in (*compositions, *baseline))
        if broken:
            why = "their outputs on the test images, or their metric, are not finite numbers"
            left_out.append(f"{broken} measured selections: left out, {why}")
        return Profile(
            teacher_accuracy=teacher,
            accuracy_loss=loss,
            distortion=distortion,
            resources=table,
            predictor=replace(fit_predictor(teacher, lost, least), judged=recording.inputs),
            compositions=[m for m in compositions if m["accuracy"] is not None],
            uniform=[m for m in baseline if m["accuracy"] is not None],
            chance_accuracy=chance,
            left_out=left_out,
            precision=self.precision,
            recheck=recheck,
            judgement=judgement,
        )

    def _variants(
        self, recording: Recording, modules: Mapping[str, Mapping[str, Any]], bar: progress
    ) -> tuple[Table, Table, list[str]]:
        """What every variant loses and moves, and a sentence for each that gave numbers that are not finite, which is
        in neither table."""
        loss: Table = {}
        distortion: Table = {}
        left_out = []
        for position, segment in enumerate(self.blocks.graph.segments):
            if segment.is_block:
                loss[segment.name], distortion[segment.name] = {ORIGINAL: 0.0}, {ORIGINAL: 0.0}
                for name, module in modules[segment.name].items():
                    if name == ORIGINAL:
                        continue
                    found = recording.evaluate({segment.name: module})
                    bar.advance()
                    if found is None:
                        why = "its outputs on the test images, or their metric, are not finite numbers"
                        left_out.append(f"{segment.name} {name}: left out, {why}")
                        continue
                    loss[segment.name][name] = recording.teacher_accuracy - found[0]
                    distortion[segment.name][name] = found[1]
            recording.carry(position)
        return loss, distortion, left_out

    @staticmethod
    def _measured(
        recording: Recording,
        modules: Mapping[str, Mapping[str, Any]],
        distortion: Table,
        selection: Mapping[str, str],
        bar: progress,
    ) -> dict[str, Any]:
        """A selection with what its variants' distortions sum to, its accuracy and its own distortion, both None where
        they are not finite numbers."""
        found = recording.evaluate({b: modules[b][v] for b, v in selection.items()})
        bar.advance()
        total = sum(distortion[b][v] for b, v in selection.items())
        accuracy, moved = found or (None, None)
        return {"selection": selection, "distortion": total, "accuracy": accuracy, "moved": moved}
