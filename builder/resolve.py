"""From names in a recipe to things: networks, loaders, managers."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

from legodnn.builder.data.checked import CheckedLoader
from legodnn.builder.graph.trace import one_line
from legodnn.builder.managers import AbstractModelManager
from legodnn.builder.recipe import Call, Recipe
from legodnn.shared.errors import DataError, LegoError, ModelError, RecipeError


def build_model(recipe: Recipe) -> nn.Module:
    """The recipe's teacher in eval mode with its weights. Raises `ModelError` or `RecipeError` in one line."""
    section = recipe.model
    model = _called("model.factory", section.factory, recipe.folder, ModelError)
    if not isinstance(model, nn.Module):
        raise ModelError(f"model.factory: '{section.factory.factory}' returned {type(model).__name__}, not a network")
    if section.weights is not None:
        _load_weights(model, section.weights)
    return model.eval()


def build_manager(recipe: Recipe) -> AbstractModelManager:
    """The recipe's model manager."""
    manager = _called("manager", recipe.manager, recipe.folder, RecipeError)
    if not isinstance(manager, AbstractModelManager):
        raise RecipeError([f"manager: '{recipe.manager.factory}' made no AbstractModelManager"])
    return manager


def build_loader(recipe: Recipe, key: str) -> Iterable[Any]:
    """The loader ``data.<key>`` of a recipe, checked batch by batch while it is read."""
    call: Call | None = getattr(recipe.data, key)
    if call is None:
        raise RecipeError([f'data.{key}: missing; write {key} = "package.module:function" that returns a loader'])
    loader = _called(f"data.{key}", call, recipe.folder, DataError)
    if not hasattr(loader, "__iter__"):
        raise DataError(f"data.{key}: '{call.factory}' returned {type(loader).__name__}, which yields no batches")
    return CheckedLoader(loader, recipe.model.input, f"data.{key}")


def _called(key: str, call: Call, folder: Path, kind: type[LegoError]) -> Any:
    function = _named(key, call, folder)
    try:
        with _importable(folder):
            return function(*call.args, **call.kwargs)
    except LegoError:
        raise
    except Exception as error:
        reason = f"{key}: '{call.factory}' failed: {type(error).__name__}: {one_line(error)}"
        raise (RecipeError([reason]) if kind is RecipeError else kind(reason)) from error


def _named(key: str, call: Call, folder: Path) -> Any:
    module_name, _, path = call.factory.partition(":")
    if module_name == "torchvision":
        module_name = "torchvision.models"
    try:
        with _importable(folder):
            found = importlib.import_module(module_name)
    except Exception as error:
        reason = f"{type(error).__name__}: {one_line(error)}"
        raise RecipeError([f"{key}: cannot import '{module_name}': {reason}"]) from error
    for part in path.split("."):
        if not hasattr(found, part):
            raise RecipeError([f"{key}: '{module_name}' has no '{path}'"])
        found = getattr(found, part)
    if not callable(found):
        raise RecipeError([f"{key}: '{call.factory}' cannot be called"])
    return found


@contextmanager
def _importable(folder: Path) -> Any:
    """The recipe's own folder comes first on the import path."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def _load_weights(model: nn.Module, path: Path) -> None:
    if not path.exists():
        raise ModelError(f"model.weights: {path}: no such file")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ModelError(f"model.weights: {path}: not a file of weights, or cut off: {one_line(error)}") from error
    if isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
        state = state["state_dict"]
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ModelError(f"model.weights: {path}: holds no table of tensors")
    reason = _misfit(dict(model.state_dict()), state)
    if reason:
        raise ModelError(f"model.weights: {path}: does not fit the network: {reason}")
    model.load_state_dict(state)


def _misfit(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str:
    missing = [name for name in wanted if name not in found]
    unexpected = [name for name in found if name not in wanted]
    misshapen = [
        f"{name} is {tuple(found[name].shape)} instead of {tuple(value.shape)}"
        for name, value in wanted.items()
        if name in found and found[name].shape != value.shape
    ]
    rows = (("missing", missing), ("unexpected", unexpected), ("wrong shape", misshapen))
    return "; ".join(f"{label}: {_few(names)}" for label, names in rows if names)


def _few(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
