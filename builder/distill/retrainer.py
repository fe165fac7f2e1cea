"""`BlockRetrainer`: least-squares reconstruction, then gradient steps; the better of the two is kept per descendant."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn

from legodnn.builder.blocks import AutoBlockManager
from legodnn.builder.data.splits import COMPARED, Split, split
from legodnn.builder.distill.calibration import first_images, images_that_fit, reconstruct
from legodnn.builder.distill.gradient import Trainer, ValidationErrors, train_batch, validate
from legodnn.builder.distill.paths import Batch, TeacherTap
from legodnn.builder.distill.results import RESULTS, Result, State, Step, best, read_results, trained_stages
from legodnn.builder.managers.abstract import AbstractModelManager, manager_code
from legodnn.builder.prune.derive import Descendant
from legodnn.builder.prune.stored import save_descendant
from legodnn.builder.workdir.files import load_tensors, save_json, save_tensors
from legodnn.builder.workdir.progress import progress
from legodnn.builder.workdir.stage import Inputs, Stage

logger = logging.getLogger(__name__)

DIVERGED = 0.1
"""A descendant has diverged when its error is not finite, or above both this and twice what the reconstruction left.
Not tuned."""

LOWER_RATE = 0.1
"""The factor on the learning rate when diverged descendants are trained once more. Not tuned."""

RECONSTRUCTION, GRADIENT, RETRY = "reconstruction", "gradient", "gradient, lower rate"
"""The steps; `Result.method` is the name of one."""

_DONE = {RECONSTRUCTION: "reconstruction.pt", GRADIENT: "gradient.pt", RETRY: "retry.pt"}
"""The file of each step's weights and errors, until all are done."""

_PARTIAL = {GRADIENT: "gradient.partial.pt", RETRY: "retry.partial.pt"}
"""The file of each step's state after an epoch."""


class BlockRetrainer:
    """Trains every descendant block to imitate its original.

    Every sparsity's descendants are a stage of their own: what they become does not depend on which others there are.

    Args:
        teacher_model: the network the blocks were found in; ``block_manager`` holds its traced copy.
        block_manager: finds and makes the blocks.
        model_manager: runs the network on a batch.
        compressed_blocks_dir: what `AutoBlockManager.extract_all_blocks` wrote.
        trained_blocks_dir: where results go, a directory for each sparsity; an interrupted training goes on from there.
        block_training_max_epoch: passes over the training data with gradient steps; a fraction ends within one, 0
            leaves the least-squares reconstruction.
        train_loader: batches as the manager takes them; everything random is seeded before each pass.
        device: where to train.
        learning_rate: of Adam, decaying to zero along a cosine.
        closed_form_images: how many images the least-squares reconstruction is solved on.
        data_name: identifies the training data, by a text or by several with names; under others the training is done
            again.
        seed: seeds the split, the loader's order and the training; by default torch's current seed.
        validation_loader: data that the steps are compared on; by default a part of the training data is set aside.
    """

    def __init__(
        self,
        teacher_model: nn.Module,
        block_manager: AutoBlockManager,
        model_manager: AbstractModelManager,
        compressed_blocks_dir: str | Path,
        trained_blocks_dir: str | Path,
        block_training_max_epoch: float,
        train_loader: Iterable[Any],
        device: str | torch.device | None = None,
        *,
        learning_rate: float = 0.002,
        closed_form_images: int = 512,
        data_name: str | Inputs = "",
        seed: int | None = None,
        validation_loader: Iterable[Any] | None = None,
    ) -> None:
        del teacher_model, model_manager, device  # the block manager has all three; kept in the signature for callers
        self.blocks = block_manager
        self.epochs = block_training_max_epoch
        self.loader, self.validation_loader = train_loader, validation_loader
        self.rate = learning_rate
        self.images = closed_form_images
        self.seed = torch.initial_seed() % 2**31 if seed is None else seed
        self.directory = Path(trained_blocks_dir)
        self.compressed = compressed_blocks_dir
        settings = {
            "distill.epochs": repr(self.epochs),
            "distill.learning_rate": repr(learning_rate),
            "distill.closed_form_images": repr(closed_form_images),
            "seed": repr(self.seed),
            "device": block_manager.device.type,
            **manager_code(block_manager.model_manager),
            **({"data.train": data_name} if isinstance(data_name, str) else data_name),
        }
        self.stages = {
            variant: Stage(self.directory / variant, {**block_manager.inputs_of(variant), **settings})
            for variant in block_manager.descendant_names
        }
        self.remarks: list[str] = []

    def train_all_blocks(self) -> list[Result]:
        """Train all descendants, or go on with what an interrupted run left; those of finished stages are not trained
        again.

        The weights are in the trained blocks' directory. A descendant that is of no use has the method ``failed`` and a
        reason. Raises `DataError` for a loader that does not fit the network, `WorkError` where the descendants are
        missing.
        """
        missing = {variant: stage for variant, stage in self.stages.items() if not stage.done}
        for variant in missing:
            self.blocks.compressed(self.compressed, variant).require("extract_all_blocks")
        if missing:
            files = [*_DONE.values(), *_PARTIAL.values(), RESULTS, *(f"{b}.pt" for b in self.blocks.block_names)]
            with ExitStack() as making:
                for stage in missing.values():
                    making.enter_context(stage.making(files))
                self._train(missing)
        return read_results(trained_stages(self.blocks, self.directory))

    def _train(self, stages: Mapping[str, Stage]) -> None:
        self.blocks.arrange_weights(self.blocks.folded.values())
        training = _Training(self, split(self.loader, self.seed, self.validation_loader), stages)
        training.run()
        self.remarks += training.remarks


class _Training:
    """The training of some sparsities' descendants."""

    def __init__(self, retrainer: BlockRetrainer, data: Split, stages: Mapping[str, Stage]) -> None:
        self.settings, self.blocks, self.data, self.stages = retrainer, retrainer.blocks, data, stages
        self.tap = TeacherTap(self.blocks)
        self.descendants = {variant: self._descendants(variant) for variant in stages}
        self.modules = {v: {b: d.module for b, d in row.items()} for v, row in self.descendants.items()}
        self.remarks: list[str] = []

    def run(self) -> None:
        """All steps, and the best of each descendant into its stage."""
        solved = self._reconstruction()
        trained = self._gradient(GRADIENT, self.settings.rate, {variant: set() for variant in self.stages})
        diverged = {v: _diverged(solved[v], trained[v]) if v in trained else set() for v in self.stages}
        again = {v: blocks for v, blocks in diverged.items() if blocks}
        self._restore({v: solved[v] for v in again})
        leave = {v: set(self.blocks.block_names) - blocks for v, blocks in again.items()}
        retried = self._gradient(RETRY, self.settings.rate * LOWER_RATE, leave) if again else {}
        for variant, stage in self.stages.items():
            steps = [found[variant] for found in (solved, trained, retried) if variant in found]
            self._keep_the_best(variant, stage, steps)
        self.remarks += [self.data.remark] if self.data.remark else []

    def _descendants(self, variant: str) -> dict[str, Descendant]:
        compressed = self.blocks.compressed(self.settings.compressed, variant)
        made = {block: self.blocks.load(compressed, block) for block in self.blocks.block_names}
        self.blocks.arrange_weights(descendant.module for descendant in made.values())
        return made

    def _batches(self, data: Iterable[Any]) -> Iterable[Batch]:
        return self.tap.batches(self.blocks, data)

    # ---- the steps ------------------------------------------------------------------------------------------------
    def _reconstruction(self) -> dict[str, Step]:
        found = self._read(RECONSTRUCTION, self.stages)
        open_variants = [variant for variant in self.stages if variant not in found]
        if open_variants:
            images = images_that_fit(self.blocks.graph, self.settings.images)
            if images < self.settings.images:
                self._say(f"distill.closed_form_images: {self.settings.images} asked for, {images} taken: activations "
                          "of more do not fit into the memory that is set aside for them")  # fmt: skip
            nodes = self.blocks.graph.inputs
            inputs = ({n: b.teacher[n] for n in nodes} for b in self._batches(self.data.training(0)))
            chosen = first_images(inputs, images)
            for variant in open_variants:
                reconstruct(self.blocks, variant, self.descendants[variant], chosen)
            found.update(self._validated(RECONSTRUCTION, open_variants))
        self._restore(found)
        return found

    def _gradient(self, name: str, rate: float, leave: Mapping[str, set[str]]) -> dict[str, Step]:
        if self.settings.epochs == 0:
            return {}
        found = self._read(name, leave)
        steps = math.ceil(self.settings.epochs * self.data.batches)
        trainers, first = {}, {}
        for variant in leave:
            if variant in found:
                continue
            trainer = Trainer(
                self.blocks, variant, self.modules[variant], rate=rate, steps=steps, seed=self.settings.seed
            )
            trainer.leave(leave[variant])
            trainers[variant], first[variant] = trainer, self._resumed(name, trainer)
        if trainers:
            self._run_epochs(name, trainers, first, steps)
            failed = {variant: trainer.failed for variant, trainer in trainers.items()}
            found.update(self._validated(name, trainers, failed))
        return found

    def _run_epochs(self, name: str, trainers: Mapping[str, Trainer], first: Mapping[str, int], steps: int) -> None:
        batches = self.data.batches
        begin = min(first.values())
        with progress(name, steps - begin * batches) as bar:
            for epoch in range(begin, math.ceil(self.settings.epochs)):
                open_trainers = [trainer for variant, trainer in trainers.items() if first[variant] <= epoch]
                data = self._batches(self.data.training(epoch))
                left = steps - epoch * batches
                for batch in data if left >= batches else islice(data, left):
                    train_batch(self.blocks, open_trainers, batch)
                    bar.advance()
                for trainer in open_trainers:
                    weights = {b: _state(m) for b, m in trainer.modules.items()}
                    saved = {"epoch": epoch + 1, "weights": weights, "trainer": trainer.state()}
                    save_tensors(self.stages[trainer.variant].path(_PARTIAL[name]), saved)

    def _resumed(self, name: str, trainer: Trainer) -> int:
        """The epoch that a trainer goes on with, after it has been given the state of an interrupted run."""
        checkpoint = self.stages[trainer.variant].path(_PARTIAL[name])
        if not checkpoint.exists():
            return 0
        saved = load_tensors(checkpoint)
        for block, weights in saved["weights"].items():
            self.modules[trainer.variant][block].load_state_dict(weights)
        trainer.resume(saved["trainer"])
        return int(saved["epoch"])

    # ---- results of steps -------------------------------------------------------------------------------------------
    def _validated(
        self, name: str, variants: Iterable[str], failed: Mapping[str, set[str]] | None = None
    ) -> dict[str, Step]:
        """The descendants of these variants as a step left them, judged on the validation split, and written."""
        rows = {variant: self.modules[variant] for variant in variants}
        found = validate(self.blocks, rows, self._first(self._batches(self.data.validation()), COMPARED))
        steps = {}
        for variant, errors in found.items():
            for block in (failed or {}).get(variant, ()):
                errors.teacher_fed[block] = errors.path_fed[block] = math.inf
            weights = {block: _state(module) for block, module in rows[variant].items()}
            steps[variant] = Step(name, weights, errors)
            save_tensors(self.stages[variant].path(_DONE[name]), {"weights": weights, "errors": vars(errors)})
        return steps

    def _first(self, batches: Iterable[Batch], images: int) -> Iterator[Batch]:
        """The first of these batches, until they have so many images."""
        for batch in batches:
            size = batch.teacher[self.blocks.graph.inputs[0]].shape[0]
            yield batch
            images -= size
            if images <= 0:
                return

    def _read(self, name: str, variants: Iterable[str]) -> dict[str, Step]:
        """What an interrupted run has finished of a step."""
        found = {}
        for variant in variants:
            path = self.stages[variant].path(_DONE[name])
            if path.exists():
                saved = load_tensors(path)
                found[variant] = Step(name, saved["weights"], ValidationErrors(**saved["errors"]))
        return found

    def _restore(self, steps: Mapping[str, Step]) -> None:
        for variant, step in steps.items():
            for block, weights in step.weights.items():
                self.modules[variant][block].load_state_dict(weights)

    def _keep_the_best(self, variant: str, stage: Stage, steps: Sequence[Step]) -> None:
        results = []
        for block in self.modules[variant]:
            result, weights = best(block, variant, list(steps))
            if weights is not None:
                descendant = self.descendants[variant][block]
                descendant.module.load_state_dict(weights)
                save_descendant(stage.path(f"{block}.pt"), descendant)
            results.append(result)
        save_json(stage.path(RESULTS), [vars(result) for result in results])
        for name in [*_DONE.values(), *_PARTIAL.values()]:
            stage.path(name).unlink(missing_ok=True)

    def _say(self, remark: str) -> None:
        self.remarks.append(remark)
        logger.warning(remark)


def _state(module: nn.Module) -> State:
    return {name: value.detach().cpu().clone() for name, value in module.state_dict().items()}


def _diverged(solved: Step, trained: Step) -> set[str]:
    """The blocks whose descendants the gradient step has made so much worse that they are trained once more."""
    before, after = solved.errors.teacher_fed, trained.errors.teacher_fed
    return {block for block, error in after.items() if not error < max(2 * before[block], DIVERGED)}

