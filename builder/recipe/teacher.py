"""The teacher stage: a recipe's network with its weights, or trained where it has none; trained once."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn as nn

from legodnn.builder.data.checked import CheckedLoader
from legodnn.builder.graph.identity import digest_of_tensors
from legodnn.builder.graph.strided import StridesBySlicing
from legodnn.builder.recipe.inputs import call_inputs, data_inputs
from legodnn.builder.recipe.resolve import teacher_training
from legodnn.builder.recipe.schema import Recipe
from legodnn.builder.teach.settings import Settings
from legodnn.builder.workdir.files import load_tensors, save_tensors
from legodnn.builder.workdir.seeds import set_random_seed
from legodnn.builder.workdir.stage import Stage
from legodnn.builder.workdir.versions import versions

WEIGHTS, PARTIAL = "teacher.pt", "partial.pt"
"""The files of the stage: the trained weights, and the state of an interrupted training."""


def needs_training(recipe: Recipe) -> bool:
    """Whether the recipe's teacher is trained by the build: it says how, and gives no weights."""
    return recipe.model.weights is None and recipe.teacher.train is not None


def teacher_stage(recipe: Recipe, untrained: nn.Module, work: Path, device: str, seed: int) -> Stage:
    """The stage of the recipe's teacher, from the network before its training."""
    section = recipe.teacher
    inputs = {
        **versions(),
        **call_inputs("model.factory", recipe.model.factory, recipe.folder),
        "weights that the factory gives": digest_of_tensors(untrained.state_dict()),
        **call_inputs("teacher.train", section.train, recipe.folder),
        "teacher.epochs": repr(section.epochs),
        "teacher.learning_rate": repr(section.learning_rate),
        **data_inputs("data.train", recipe.data.train, recipe),
        "data.test": "set aside from data.train" if recipe.data.divided else "named",
        "seed": repr(seed),
        "device": torch.device(device).type,
    }
    return Stage(work, inputs)


def trained_teacher(recipe: Recipe, untrained: nn.Module, stage: Stage, train: CheckedLoader, device: str) -> nn.Module:
    """The network with the weights in the stage, trained now if they are not there; in eval mode on the CPU.

    Raises `ModelError`, `RecipeError`, `DataError`, `WorkError`.
    """
    if not stage.done:
        with stage.making([WEIGHTS, PARTIAL]):
            partial, seed = stage.path(PARTIAL), int(stage.inputs["seed"])
            target = torch.device(device)
            how = Settings(recipe.teacher.epochs, recipe.teacher.learning_rate, target, seed, partial)
            set_random_seed(seed)
            with StridesBySlicing():
                teacher_training(recipe)(untrained.to(target), train, how)
            save_tensors(stage.path(WEIGHTS), untrained.cpu().state_dict())
            partial.unlink(missing_ok=True)
    untrained.load_state_dict(load_tensors(stage.path(WEIGHTS)))
    return untrained.cpu().eval()
