"""`BlockRetrainer`: least-squares reconstruction, then gradient steps; the better of the two is kept per descendant."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

from legodnn.builder.blocks import AutoBlockManager
from legodnn.builder.distill import reconstruction
from legodnn.builder.distill.gradient import Key, Trainer, validate
from legodnn.builder.distill.paths import Batch, TeacherTap, run_trunk
from legodnn.builder.managers.abstract import AbstractModelManager
from legodnn.builder.prune.derive import Descendant
from legodnn.builder.workdir.progress import progress
from legodnn.builder.workdir.stage import Stage, fingerprint, load_json, load_tensors, save_json, save_tensors
from legodnn.shared.errors import DataError, WorkError

VALIDATION_SHARE = 0.08
"""Share of the training batches in the validation split, on which the two steps are compared. Not tuned."""

COMPARED = 256
"""Images of the validation split that are used, from the first on: more did not change which step is the better."""

USELESS = 1.0
"""The relative error of a constant output: descendants that reach it are dropped."""

DIVERGED = 0.1
"""A descendant has diverged when its error is not finite, or above both this and twice what the reconstruction left.
Not tuned."""

LOWER_RATE = 0.1
"""The factor on the learning rate when diverged descendants are trained once more. Not tuned."""

CALIBRATION_BYTES = 2 * 1024**3
"""Memory for the activations that the reconstruction is solved on; fewer images are used where they would take more.
Not tuned."""

State = dict[str, Tensor]


@dataclass(frozen=True)
class Result:
    """The result of one descendant: the step whose weights are kept, or ``failed``, and its error on the validation
    split."""

    block: str
    variant: str
    method: str
    error: float


class BlockRetrainer:
    """Trains every descendant block to imitate its original.

    Args:
        teacher_model: the network the blocks were found in; ``block_manager`` holds its traced copy.
        block_manager: finds and makes the blocks.
        model_manager: runs the network on a batch.
        compressed_blocks_dir: what `AutoBlockManager.extract_all_blocks` wrote.
        trained_blocks_dir: where results go; an interrupted training goes on from there.
        block_training_max_epoch: passes over the training loader with gradient steps; a fraction ends within one, 0
            leaves the least-squares reconstruction.
        train_loader: batches as the manager takes them; torch is seeded before each pass, so that all have one order.
        device: where to train.
        learning_rate: of Adam, decaying to zero along a cosine.
        closed_form_images: how many images the least-squares reconstruction is solved on.
        data_name: identifies the training data; under another name the training is done again.
        seed: seeds the loader's order and the training; by default torch's current seed.
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
        data_name: str = "",
        seed: int | None = None,
    ) -> None:
        del teacher_model, model_manager, device  # the block manager has all three; kept in the signature for callers
        self.blocks = block_manager
        self.epochs = block_training_max_epoch
        self.loader = train_loader
        self.rate = learning_rate
        self.images = closed_form_images
        self.seed = torch.initial_seed() % 2**31 if seed is None else seed
        self.compressed = block_manager.compressed(compressed_blocks_dir)
        settings = [self.epochs, learning_rate, closed_form_images, self.seed, data_name]
        self.stage = Stage(trained_blocks_dir, fingerprint(block_manager.fingerprint, settings))
        self.tap = TeacherTap(block_manager)

    def train_all_blocks(self) -> list[Result]:
        """Train all descendants, or go on with what an interrupted run left, or read the results of a finished one.

        The weights are in the trained blocks' directory. A descendant that diverged at both learning rates has method
        ``failed``. Raises `DataError` for a loader that does not fit the network, `WorkError` where the descendants are
        missing.
        """
        if self.stage.done:
            return [Result(**row) for row in load_json(self.stage.path("results.json"))]
        self.compressed.require("extract_all_blocks")
        self.stage.begin()
        self.blocks.arrange_weights(self.blocks.folded.values())
        descendants = self._descendants()
        self.variants = {b: {v: d.module for v, d in row.items()} for b, row in descendants.items()}
        self.count = self._count_batches()
        self.validation_batches = max(1, round(VALIDATION_SHARE * self.count)) if self.count > 1 else 0
        solved = self._reconstructed(descendants)
        trained = self._gradient("gradient", self.rate, set())
        diverged = {k for k, (error, _) in trained.items() if not error < max(2 * solved[k][0], DIVERGED)}
        retried: dict[Key, tuple[float, dict[str, Tensor]]] = {}
        if diverged:
            self._restore(solved)
            retried = self._gradient("retry", self.rate * LOWER_RATE, set(trained) - diverged)
        return self._keep_the_better({"reconstruction": solved, "gradient": trained, "gradient, lower rate": retried})

    # ---- the loader ---------------------------------------------------------------------------------------------
    def _data(self) -> Iterator[Any]:
        """The loader's batches, in the order of every pass."""
        torch.manual_seed(self.seed)
        return iter(self.loader)

    def _count_batches(self) -> int:
        count = len(self.loader) if isinstance(self.loader, Sized) else sum(1 for _ in self._data())
        if count == 0:
            raise DataError("the training loader yields no batches")
        return count

    def _validation_split(self) -> Iterable[Batch]:
        """The last batches of the loader, or the only one."""
        return self.tap.batches(self.blocks, islice(self._data(), self.count - max(1, self.validation_batches), None))

    def _training_split(self) -> Iterable[Batch]:
        return self.tap.batches(self.blocks, islice(self._data(), self.count - self.validation_batches))

    def _first(self, batches: Iterable[Batch], images: int) -> Iterator[Batch]:
        """The first of these batches, until they have so many images."""
        for batch in batches:
            yield batch
            images -= batch.teacher[self.blocks.graph.inputs[0]].shape[0]
            if images <= 0:
                return

    # ---- the two steps --------------------------------------------------------------------------------------------
    def _descendants(self) -> dict[str, dict[str, Descendant]]:
        made: dict[str, dict[str, Descendant]] = {}
        for block in self.blocks.block_names:
            made[block] = {}
            for variant in self.blocks.descendant_names:
                descendant = self.blocks.derive(block, variant)
                descendant.module.load_state_dict(load_tensors(self.compressed.path(block, f"{variant}.pt")))
                made[block][variant] = descendant
            self.blocks.arrange_weights(d.module for d in made[block].values())
        return made

    def _reconstructed(self, descendants: dict[str, dict[str, Descendant]]) -> dict[Key, tuple[float, State]]:
        checkpoint = self.stage.path("reconstruction.pt")
        if checkpoint.exists():
            found = self._unpack(load_tensors(checkpoint))
            self._restore(found)
            return found
        batches = self._calibration()
        fits = len(self.blocks.block_names) * len(self.blocks.descendant_names)
        with progress("reconstruction", fits, unit="fit") as bar:
            for segment in self.blocks.graph.segments:
                if not segment.is_block:
                    for batch in batches:
                        run_trunk(self.blocks, batch, segment)
                    continue
                source, target = segment.inputs[0], segment.outputs[0]
                for variant, descendant in descendants[segment.name].items():
                    seen = [reconstruction.Sample(b.teacher[source], b.teacher[source]) for b in batches]
                    seen += [reconstruction.Sample(b.paths[variant][source], b.teacher[source]) for b in batches]
                    original = self.blocks.folded[segment.name]
                    reconstruction.fit(original, descendant, self.blocks.channels[segment.name], seen)
                    with torch.no_grad():
                        for batch in batches:
                            values = batch.paths[variant]
                            values[target] = descendant.module(values[source])
                    bar.advance()
        return self._validated(checkpoint)

    def _calibration(self) -> list[Batch]:
        """Batches for the reconstruction, with a path for every sparsity that starts at the network's inputs."""
        batches: list[Batch] = []
        size = 0
        for batch in self._first(self._training_split(), self.images):
            batches.append(batch)
            size += sum(v.numel() * v.element_size() for v in batch.teacher.values())
            if size * (1 + len(self.blocks.descendant_names)) > CALIBRATION_BYTES:
                break
        if not batches:
            raise DataError("the training loader yields no batches")
        for batch in batches:
            batch.paths = {
                name: {n: batch.teacher[n] for n in self.blocks.graph.inputs} for name in self.blocks.descendant_names
            }
        return batches

    def _gradient(self, label: str, rate: float, leave: set[Key]) -> dict[Key, tuple[float, State]]:
        done, checkpoint = self.stage.path(f"{label}.pt"), self.stage.path(f"{label}.partial.pt")
        if done.exists():
            return {k: v for k, v in self._unpack(load_tensors(done)).items() if k not in leave}
        if self.epochs == 0:
            return {}
        batches = self.count - self.validation_batches
        steps = math.ceil(self.epochs * batches)
        trainer = Trainer(self.blocks, self.variants, rate=rate, steps=steps, seed=self.seed)
        trainer.leave(leave)
        first = 0
        if checkpoint.exists():
            saved = load_tensors(checkpoint)
            self._restore(self._unpack(saved["weights"]))
            trainer.resume(saved["trainer"])
            first = saved["epoch"]
        with progress(label, steps - first * batches) as bar:
            for epoch in range(first, math.ceil(self.epochs)):
                for batch in islice(self._training_split(), steps - epoch * batches):
                    trainer.train_batch(batch)
                    bar.advance()
                weights = self._pack(dict.fromkeys(trainer.parameters, math.nan))
                save_tensors(checkpoint, {"epoch": epoch + 1, "weights": weights, "trainer": trainer.state()})
        result = self._validated(done, trainer.failed)
        checkpoint.unlink(missing_ok=True)
        return {k: v for k, v in result.items() if k not in leave}

    # ---- results -----------------------------------------------------------------------------------------------------
    def _validated(self, path: Path, failed: Iterable[Key] = ()) -> dict[Key, tuple[float, State]]:
        found = validate(self.blocks, self.variants, self._first(self._validation_split(), COMPARED))
        errors = {key: math.inf if key in set(failed) else found.mean(key) for key in found.totals}
        packed = self._pack(errors)
        save_tensors(path, packed)
        return self._unpack(packed)

    def _pack(self, errors: dict[Key, float]) -> list[Any]:
        return [
            [b, v, error, {k: t.detach().cpu().clone() for k, t in self.variants[b][v].state_dict().items()}]
            for (b, v), error in errors.items()
        ]

    @staticmethod
    def _unpack(rows: Sequence[Any]) -> dict[Key, tuple[float, State]]:
        return {(b, v): (error, state) for b, v, error, state in rows}

    def _restore(self, found: dict[Key, tuple[float, State]]) -> None:
        for (block, variant), (_, state) in found.items():
            self.variants[block][variant].load_state_dict(state)

    def _keep_the_better(self, methods: dict[str, dict[Key, tuple[float, State]]]) -> list[Result]:
        results = []
        for block, row in self.variants.items():
            for variant in row:
                key = (block, variant)
                tried = [(found[key][0], name) for name, found in methods.items() if key in found]
                finite = [t for t in tried if math.isfinite(t[0]) and t[0] < USELESS]
                if not finite:
                    error = min((t[0] for t in tried if math.isfinite(t[0])), default=-1.0)
                    results.append(Result(block, variant, "failed", error))
                    continue
                error, method = min(finite, key=lambda t: t[0])  # of equal errors that of the earlier step
                save_tensors(self.stage.path(block, f"{variant}.pt"), methods[method][key][1])
                results.append(Result(block, variant, method, error))
        save_json(self.stage.path("results.json"), [vars(r) for r in results])
        for name in ("reconstruction", "gradient", "retry"):
            self.stage.path(f"{name}.pt").unlink(missing_ok=True)
        self.stage.finish()
        return results


def trained_results(stage: Stage) -> list[Result]:
    """The results of a finished `BlockRetrainer.train_all_blocks`. Raises `WorkError` where it has not finished."""
    if not stage.done:
        raise WorkError(f"{stage.directory}: training has not finished; run train_all_blocks")
    return [Result(**row) for row in load_json(stage.path("results.json"))]
