"""The results of distillation: what was kept of every descendant, or why it was left out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from legodnn.builder.blocks import AutoBlockManager
from legodnn.builder.distill.gradient import ValidationErrors
from legodnn.builder.workdir.files import load_json
from legodnn.builder.workdir.stage import Stage
from legodnn.shared.errors import WorkError

USELESS = 1.0
"""The relative error of a constant output: descendants that reach it on the teacher's activations are left out."""

RESULTS = "results.json"
"""The file of a stage's results."""

FAILED = "failed"
"""The method of a descendant that is left out."""

State = dict[str, Tensor]


@dataclass(frozen=True)
class Result:
    """The result of one descendant: the step whose weights are kept, or `FAILED` with the reason in a sentence; and its
    error on the validation split where the teacher feeds it, not finite where no step gave a finite one."""

    block: str
    variant: str
    method: str
    error: float
    reason: str = ""


@dataclass(frozen=True)
class Step:
    """What one step made of the descendants of a sparsity: their weights and errors, by block."""

    name: str
    weights: Mapping[str, State]
    errors: ValidationErrors


def best(block: str, variant: str, steps: list[Step]) -> tuple[Result, State | None]:
    """The best of what the steps made of one descendant, of equal ones the earlier; with no weights where none is of
    use."""
    tried = [step for step in steps if block in step.weights]
    usable = [s for s in tried if s.errors.teacher_fed[block] < USELESS]  # not where it is not a number
    if usable:
        chosen = min(usable, key=lambda step: step.errors.judged(block))
        return Result(block, variant, chosen.name, chosen.errors.teacher_fed[block]), chosen.weights[block]
    finite = [s.errors.teacher_fed[block] for s in tried if math.isfinite(s.errors.teacher_fed[block])]
    error = min(finite, default=math.inf)
    after = " and ".join(f"after {step.name}" for step in tried)
    what = f"its relative error is {error:.2f}, no better than a constant output" if finite else "its outputs overflow"
    return Result(block, variant, FAILED, error, f"{what}, {after}"), None


def trained_stages(blocks: AutoBlockManager, directory: str | Path) -> dict[str, Stage]:
    """The finished stages in a directory of `BlockRetrainer`'s, by variant, whatever its settings were.

    Raises `WorkError` where one is missing, or made from another network or other blocks.
    """
    stages = {}
    for variant in blocks.descendant_names:
        path = Path(directory) / variant
        recorded = Stage(path, {}).recorded_inputs
        wanted = blocks.inputs_of(variant)
        changed = [name for name in wanted if recorded.get(name) != wanted[name]]
        if recorded and changed:
            raise WorkError(f"{path}: made from something else ({', '.join(changed)}); run train_all_blocks again")
        stages[variant] = Stage(path, recorded)
        stages[variant].require("train_all_blocks")
    return stages


def read_results(stages: Mapping[str, Stage]) -> list[Result]:
    """The results in finished stages, by block and then by variant."""
    rows = [Result(**row) for stage in stages.values() for row in load_json(stage.path(RESULTS))]
    order = {row.block: place for place, row in reversed(list(enumerate(rows)))}
    return sorted(rows, key=lambda row: order[row.block])
