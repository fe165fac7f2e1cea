"""The gradient step: all descendants of one sparsity, trained together; the teacher runs once per batch for all
sparsities.

The loss is the model manager's imitation error, by default independent of the scale of the activations. The inputs of
blocks are detached, so no gradient leaves a block. What one sparsity's descendants become does not depend on which
others there are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

from legodnn.builder.blocks import AutoBlockManager
from legodnn.builder.distill.paths import Batch, share_missing, walk
from legodnn.builder.graph.segments import Segment
from legodnn.builder.graph.strided import StridesBySlicing
from legodnn.builder.workdir.log import EVERY, note
from legodnn.shared.errors import DataError

Modules = Mapping[str, nn.Module]
"""The descendants of one sparsity, by block."""

OWN_PATH = 0.5
"""The probability that a descendant is fed by its own path; else the teacher feeds it. Not tuned: with 0.67 workload
W's accuracies were the same within 0.3 points."""


@dataclass
class ValidationErrors:
    """Mean errors of one sparsity's descendants, by block: fed by the teacher, and by their own path."""

    teacher_fed: dict[str, float] = field(default_factory=dict)
    path_fed: dict[str, float] = field(default_factory=dict)

    def judged(self, block: str) -> float:
        """The error by which one descendant's steps are compared: the mean of both, where a path that earlier blocks
        have broken counts as that of a constant."""
        path = self.path_fed[block]
        return (self.teacher_fed[block] + (min(path, 1.0) if math.isfinite(path) else 1.0)) / 2


def validate(
    blocks: AutoBlockManager, variants: Mapping[str, Modules], batches: Iterable[Batch]
) -> dict[str, ValidationErrors]:
    """The errors of every descendant on ``batches``, those of the validation split, by variant; sets the batches'
    paths. Raises `DataError` for no batches."""
    error_of = blocks.model_manager.imitation_error
    sums = {name: ValidationErrors(dict.fromkeys(row, 0.0), dict.fromkeys(row, 0.0)) for name, row in variants.items()}
    count = 0

    def visit(segment: Segment, batch: Batch, name: str) -> None:
        if segment.name not in variants[name]:
            share_missing(batch, segment, name)
            return
        source, target = segment.inputs[0], segment.outputs[0]
        module, wanted = variants[name][segment.name], batch.teacher[target]
        on_path = module(batch.paths[name][source])
        sums[name].teacher_fed[segment.name] += float(error_of(module(batch.teacher[source]), wanted))
        sums[name].path_fed[segment.name] += float(error_of(on_path, wanted))
        batch.paths[name][target] = on_path

    with torch.no_grad():
        for batch in batches:
            walk(blocks, batch, list(variants), visit)
            count += 1
    if count == 0:
        raise DataError("the validation split has no batches")
    for errors in sums.values():
        for row in (errors.teacher_fed, errors.path_fed):
            row.update({block: total / count for block, total in row.items()})
    return sums


def train_batch(blocks: AutoBlockManager, trainers: Sequence[Trainer], batch: Batch) -> None:
    """One step of every descendant of all trainers."""
    for trainer in trainers:
        trainer.begin_step()

    by_variant = {trainer.variant: trainer for trainer in trainers}

    def visit(segment: Segment, batch: Batch, name: str) -> None:
        by_variant[name].train_block(segment, batch)

    with StridesBySlicing():
        walk(blocks, batch, list(by_variant), visit)
    for trainer in trainers:
        trainer.end_step()


class Trainer:
    """Adam over the descendants of one sparsity; the rate rises for 20 steps, which are not tuned, then decays to zero
    along a cosine. ``failed`` are the blocks whose loss was not finite, or that are left alone."""

    def __init__(
        self, blocks: AutoBlockManager, variant: str, modules: Modules, *, rate: float, steps: int, seed: int
    ) -> None:
        self.blocks = blocks
        self.variant = variant
        self.modules = modules
        self.rate = rate
        self.steps = max(1, steps)
        self.step = 0
        # Of its own for every sparsity, so that its draws do not depend on which others there are.
        self.seed = (seed * 1_000_003 + round(1e6 * blocks.sparsity_of(variant))) * 1_000_003
        self.failed: set[str] = set()
        self._generator = torch.Generator()
        self._losses: list[float] = []
        self._parameters = {
            block: [p for p in module.parameters() if p.is_floating_point()] for block, module in modules.items()
        }
        everything = [p for row in self._parameters.values() for p in row]
        for parameter in everything:
            parameter.requires_grad_(True)
        self.optimizer = torch.optim.Adam(everything, lr=rate, foreach=True)

    def state(self) -> dict[str, Any]:
        """Everything needed to go on after a restart, beside the descendants' weights."""
        return {"step": self.step, "failed": sorted(self.failed), "optimizer": self.optimizer.state_dict()}

    def resume(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned; the descendants hold the weights they had then."""
        self.step = state["step"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.leave(state["failed"])

    def begin_step(self) -> None:
        """Set the rate and the seed of the step."""
        self._generator.manual_seed((self.seed + self.step) % 2**63)
        progress = min(1.0, self.step / self.steps)
        warm = min(1.0, (self.step + 1) / min(20, self.steps))
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * warm * 0.5 * (1 + math.cos(math.pi * progress))

    def end_step(self) -> None:
        """Change the weights by the gradients of all blocks."""
        if self.step % EVERY == 0 and self._losses:
            mean = sum(self._losses) / len(self._losses)
            note("distill", variant=self.variant, step=self.step, rate=self.optimizer.param_groups[0]["lr"], loss=mean)
        self._losses.clear()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1

    def train_block(self, segment: Segment, batch: Batch) -> None:
        """Add the gradient of one block's descendant, and set its output in the path."""
        source, target = segment.inputs[0], segment.outputs[0]
        if segment.name not in self.modules or segment.name in self.failed:
            share_missing(batch, segment, self.variant)
            return
        wanted = batch.teacher[target]
        own = float(torch.rand(1, generator=self._generator)) < OWN_PATH
        answer: Tensor = self.modules[segment.name](batch.seen(self.variant if own else None, source).detach())
        loss = self.blocks.model_manager.imitation_error(answer, wanted)
        if math.isfinite(float(loss.detach())):
            self._losses.append(float(loss.detach()))
            torch.autograd.backward(loss)
        else:
            self.leave([segment.name])
        answer = answer.detach()
        batch.paths[self.variant][target] = answer if bool(torch.isfinite(answer).all()) else wanted

    def leave(self, blocks: Iterable[str]) -> None:
        """Do not train these blocks' descendants; the path continues with the teacher's outputs."""
        for block in blocks:
            self.failed.add(block)
            for parameter in self._parameters[block]:
                parameter.grad = None
                parameter.requires_grad_(False)
