"""The gradient step: all descendants of all blocks, trained together, so that the teacher runs once per batch.

The loss is the model manager's imitation error, by default independent of the scale of the activations. The inputs of
blocks are detached, so no gradient leaves a block.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn as nn

from legodnn.builder.blocks import AutoBlockManager
from legodnn.builder.distill.paths import Batch, share_missing, walk
from legodnn.builder.graph.segments import Segment

Key = tuple[str, str]
"""A block's name and a variant's name."""

Variants = Mapping[str, Mapping[str, nn.Module]]
"""Descendants by block name and variant name."""


@dataclass
class ValidationErrors:
    """Errors of descendants summed over batches, each the mean of that on the teacher's activations and that on their
    own path's."""

    totals: dict[Key, float]
    batches: int = 0

    def mean(self, key: Key) -> float:
        """The mean error of one descendant; not finite where it was not on any batch."""
        return self.totals[key] / max(1, self.batches)


def validate(blocks: AutoBlockManager, variants: Variants, batches: Iterable[Batch]) -> ValidationErrors:
    """The errors of every descendant on ``batches``, those of the validation split; sets the batches' paths."""
    error_of = blocks.model_manager.imitation_error
    result = ValidationErrors({(b, v): 0.0 for b, row in variants.items() for v in row})

    def visit(segment: Segment, batch: Batch) -> None:
        source, target = segment.inputs[0], segment.outputs[0]
        row = variants[segment.name]
        share_missing(batch, segment, row)
        for name, module in row.items():
            on_teacher = module(batch.teacher[source])
            on_path = module(batch.paths[name][source])
            wanted = batch.teacher[target]
            error = (error_of(on_teacher, wanted) + error_of(on_path, wanted)) / 2
            result.totals[segment.name, name] += float(error)
            batch.paths[name][target] = on_path

    with torch.no_grad():
        for batch in batches:
            walk(blocks, batch, blocks.descendant_names, visit)
            result.batches += 1
    return result


class Trainer:
    """Adam over all descendants; the rate rises for 20 steps, which are not tuned, then decays to zero along a
    cosine."""

    def __init__(self, blocks: AutoBlockManager, variants: Variants, *, rate: float, steps: int, seed: int) -> None:
        self.blocks = blocks
        self.variants = variants
        self.rate = rate
        self.steps = max(1, steps)
        self.step = 0
        self.seed = seed
        self.failed: set[Key] = set()
        self.parameters = {
            (block, name): [p for p in module.parameters() if p.is_floating_point()]
            for block, row in variants.items()
            for name, module in row.items()
        }
        everything = [p for row in self.parameters.values() for p in row]
        for parameter in everything:
            parameter.requires_grad_(True)
        self.optimizer = torch.optim.Adam(everything, lr=rate, foreach=True)

    def state(self) -> dict[str, Any]:
        """Everything needed to go on after a restart, beside the descendants' weights."""
        failed = [list(key) for key in sorted(self.failed)]
        return {"step": self.step, "failed": failed, "optimizer": self.optimizer.state_dict()}

    def resume(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned; the descendants hold the weights they had then."""
        self.step = state["step"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.leave(state["failed"])

    def train_batch(self, batch: Batch) -> None:
        """One step of every descendant."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.step)
        self._set_rate()

        def visit(segment: Segment, batch: Batch) -> None:
            self._train_block(segment, batch, generator)

        walk(self.blocks, batch, self.blocks.descendant_names, visit)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1

    def _set_rate(self) -> None:
        progress = min(1.0, self.step / self.steps)
        warm = min(1.0, (self.step + 1) / min(20, self.steps))
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * warm * 0.5 * (1 + math.cos(math.pi * progress))

    def _train_block(self, segment: Segment, batch: Batch, generator: torch.Generator) -> None:
        source, target = segment.inputs[0], segment.outputs[0]
        row = self.variants[segment.name]
        share_missing(batch, segment, row)
        wanted = batch.teacher[target]
        answers = {}
        for name, module in row.items():
            if (segment.name, name) in self.failed:
                answers[name] = wanted
                continue
            seen = batch.seen(self._feeder(name, generator), source).detach()
            answer = module(seen)
            loss = self.blocks.model_manager.imitation_error(answer, wanted)
            if math.isfinite(float(loss.detach())):
                torch.autograd.backward(loss)
            else:
                self._give_up(segment.name, name)
            answers[name] = answer.detach() if torch.isfinite(answer.detach()).all() else wanted
        for name, answer in answers.items():
            batch.paths[name][target] = answer

    def _feeder(self, own: str, generator: torch.Generator) -> str | None:
        """The path that feeds a descendant: with probability 1/2 its own, 1/4 the teacher (None), 1/4 any one drawn at
        random. The shares are not tuned."""
        draw = float(torch.rand(1, generator=generator))
        if draw < 0.5:
            return own
        if draw < 0.75:
            return None
        names = self.blocks.descendant_names
        return names[int(torch.randint(len(names), (1,), generator=generator))]

    def leave(self, keys: Iterable[Key]) -> None:
        """Do not train these descendants; their paths continue with the teacher's outputs."""
        for block, name in keys:
            self._give_up(block, name)

    def _give_up(self, block: str, name: str) -> None:
        self.failed.add((block, name))
        for parameter in self.parameters[block, name]:
            parameter.grad = None
            parameter.requires_grad_(False)

