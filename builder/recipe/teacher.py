"""The teacher stage: a recipe's network with its weights, or trained where it has none; trained once."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn as nn

from legodnn.builder.data.checked import CheckedLoader
from legodnn.builder.recipe.data import described
from legodnn.builder.recipe.resolve import build_model, teacher_training
from legodnn.builder.recipe.schema import Recipe
from legodnn.builder.teach.settings import Settings
from legodnn.builder.workdir.seeds import set_random_seed
from legodnn.builder.workdir.stage import Stage, fingerprint, load_tensors, save_tensors


def needs_training(recipe: Recipe) -> bool:
    """Whether the recipe's teacher is trained by the build: it says how, and gives no weights."""
    return recipe.model.weights is None and recipe.teacher.train is not None


def trained_teacher(recipe: Recipe, train: CheckedLoader, work: Path, device: str, seed: int) -> nn.Module:
    """The recipe's teacher in eval mode on the CPU; where the recipe says how it is trained and gives no weights, with
    those in ``work``, trained now if they are not there.

    Raises `ModelError`, `RecipeError`, `DataError`, `WorkError`.
    """
    set_random_seed(seed)
    model = build_model(recipe)
    if not needs_training(recipe):
        return model
    section = recipe.teacher
    settings = [section.epochs, section.learning_rate, repr(section.train), described(recipe.data.train), seed]
    stage = Stage(work, fingerprint(settings, model.state_dict()))
    if not stage.done:
        stage.begin()
        target = torch.device(device)
        model.to(target)
        partial = stage.path("partial.pt")
        how = Settings(section.epochs, section.learning_rate, target, seed, partial)
        teacher_training(recipe)(model, train, how)
        save_tensors(stage.path("teacher.pt"), model.cpu().state_dict())
        stage.finish()
        partial.unlink(missing_ok=True)
    model.load_state_dict(load_tensors(stage.path("teacher.pt")))
    return model.cpu().eval()
