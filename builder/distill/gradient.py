"""Gradient: all descendants of all blocks, trained together in one pass over the teacher's batches.

The loss is the model manager's imitation error, by default the same number whatever the scale of the activations.
Blocks learn from recorded inputs: no gradient ever leaves a block.
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
class Judge:
    """Mean errors of descendants over batches, half on the teacher's activations and half on their own path's."""

    totals: dict[Key, float]
    batches: int = 0

    def mean(self, key: Key) -> float:
        """The mean error of one descendant; not finite where it failed on any batch."""
        return self.totals[key] / max(1, self.batches)


def judge(blocks: AutoBlockManager, variants: Variants, batches: Iterable[Batch]) -> Judge:
    """Measure every descendant on batches it does not learn from."""
    error_of = blocks.model_manager.imitation_error
    result = Judge({(b, v): 0.0 for b, row in variants.items() for v in row})

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
    """One optimiser over all descendants; an epoch is one pass over the teacher's batches."""

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
        """Half of the time a descendant's own path, a quarter each the teacher and any other path."""
        draw = float(torch.rand(1, generator=generator))
        if draw < 0.5:
            return own
        if draw < 0.75:
            return None
        names = self.blocks.descendant_names
        return names[int(torch.randint(len(names), (1,), generator=generator))]

    def leave(self, keys: Iterable[Key]) -> None:
        """Do not train these descendants; their paths go on with what the teacher answered."""
        for block, name in keys:
            self._give_up(block, name)

    def _give_up(self, block: str, name: str) -> None:
        self.failed.add((block, name))
        for parameter in self.parameters[block, name]:
            parameter.grad = None
            parameter.requires_grad_(False)

