"""From names in a recipe to objects: networks, loaders, managers."""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import logging
import pkgutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor
from torchvision import models

from legodnn.builder.data.checked import CheckedLoader
from legodnn.builder.data.files import FilesLoader
from legodnn.builder.data.indexed import drawn
from legodnn.builder.data.sampled import sampled
from legodnn.builder.managers import AbstractModelManager
from legodnn.builder.recipe.data import purposed
from legodnn.builder.recipe.load import require_buildable
from legodnn.builder.recipe.schema import DEFAULT_MANAGER, Call, Recipe
from legodnn.builder.workdir.faults import told
from legodnn.builder.workdir.files import read_tensors
from legodnn.shared.errors import DataError, LegoError, ModelError, RecipeError, is_shortage, one_line
from legodnn.shared.naming import few, hint


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


def teacher_training(recipe: Recipe) -> Callable[[nn.Module, CheckedLoader, Any], object]:
    """The function that trains the recipe's teacher in place, of the network, the train loader and
    `legodnn.builder.teach.settings.Settings`. It raises the builder's errors as they are, others as `ModelError`."""
    call = recipe.teacher.train
    assert call is not None, "only recipes that say how are asked"

    def train(model: nn.Module, loader: CheckedLoader, settings: Any) -> object:
        whole = Call(call.factory, (model, loader, settings, *call.args), call.kwargs)
        return _called("teacher.train", whole, recipe.folder, ModelError)

    return train


logger = logging.getLogger(__name__)

TEST_SHARE = 0.2
"""Share of the training data that is set aside for accuracy where no test data are named. Not tuned."""


@dataclass(frozen=True)
class Loaders:
    """The loaders of a recipe; ``validation`` is None where a part of the training data is to be set aside for it."""

    train: CheckedLoader
    test: CheckedLoader
    validation: CheckedLoader | None


def build_loaders(recipe: Recipe, task: str, seed: int = 0) -> Loaders:
    """The recipe's loaders; the first batch of each is checked here, the others when they are read.

    ``task`` is the model manager's: it says what a data set in files is read as. Such a data set without test data is
    divided by the seed, which is said on stderr.

    Raises `RecipeError` where they are not named, `DataError` where they yield nothing, or what does not fit the
    network.
    """
    require_buildable(recipe)
    divided = recipe.data.divided
    calls = {"train": recipe.data.train, "test": recipe.data.train if divided else recipe.data.test}
    if recipe.data.validation is not None:
        calls["validation"] = recipe.data.validation
    made = {
        key: _loader(f"data.{key}", purposed(f"data.{key}", call, recipe, task), recipe)
        for key, call in calls.items()
        if call is not None
    }
    if divided:
        made["train"], made["test"] = _divided(made["train"], made["test"], seed)
    if recipe.profile.images is not None:
        made["test"] = sampled(made["test"], recipe.profile.images, seed, "profile.images")
    for loader in made.values():
        next(iter(loader))
    return Loaders(made["train"], made["test"], made.get("validation"))


def _divided(train: CheckedLoader, test: CheckedLoader, seed: int) -> tuple[CheckedLoader, CheckedLoader]:
    """Two loaders of the same data set, each with the part of it that is its own."""
    learning, judging = train.loader, test.loader
    assert isinstance(learning, FilesLoader), "only data in files are divided"
    assert isinstance(judging, FilesLoader), "only data in files are divided"
    count = len(learning.dataset.examples)
    if count < 2:
        raise DataError(f"data.test: missing, and {count} example in data.train cannot be divided; name data.test")
    order = drawn(count, seed)
    held = max(1, round(TEST_SHARE * count))
    logger.info("data.test: not named; %s of the %s examples in data.train are set aside", f"{held:,}", f"{count:,}")
    return train.around(learning.part(sorted(order[held:]))), test.around(judging.part(sorted(order[:held])))


def _loader(key: str, call: Call, recipe: Recipe) -> CheckedLoader:
    loader = _called(key, call, recipe.folder, DataError)
    if not isinstance(loader, Iterable):
        raise DataError(f"{key}: '{call.factory}' returned {type(loader).__name__}, which yields no batches")
    if isinstance(loader, Iterator):
        raise DataError(
            f"{key}: '{call.factory}' returned an iterator, which can be read only once; return a DataLoader or a list"
        )
    pairs = recipe.manager.factory == DEFAULT_MANAGER
    return CheckedLoader(loader, recipe.model.input, key, inputs=recipe.model.inputs, pairs=pairs)


def _called(key: str, call: Call, folder: Path, kind: type[LegoError]) -> Any:
    function = _named(key, call, folder)
    try:
        # Standard output is the command's own, and may be JSON that a program reads.
        with contextlib.redirect_stdout(sys.stderr):
            return function(*call.args, **call.kwargs)
    except LegoError:
        raise
    except (Exception, SystemExit) as error:
        if is_shortage(error):
            raise MemoryError(f"{key}: '{call.factory}': {one_line(error)}") from error
        reason = f"{key}: '{call.factory}' failed: {told(error)}"
        raise (RecipeError([reason]) if kind is RecipeError else kind(reason)) from error


def _named(key: str, call: Call, folder: Path) -> Any:
    module_name, _, path = call.factory.partition(":")
    if module_name == "torchvision":
        return _of_torchvision(key, path)
    look_first_in(folder)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        raise RecipeError([f"{key}: cannot import '{module_name}': {told(error)}"]) from error
    try:
        found = pkgutil.resolve_name(call.factory)
    except AttributeError as error:
        meant = hint(error.name or path, dir(error.obj))
        raise RecipeError([f"{key}: '{module_name}' has no '{path}'{meant}"]) from error
    if not callable(found):
        raise RecipeError([f"{key}: '{call.factory}' cannot be called"])
    return found


def _of_torchvision(key: str, name: str) -> Any:
    """One of torchvision's networks, of any application; weights come from the recipe, not from a download."""
    modules = (models, models.segmentation, models.detection, models.video, models.optical_flow)
    module = next((module for module in modules if callable(getattr(module, name, None))), None)
    if module is None:
        raise RecipeError([f"{key}: torchvision has no network '{name}'{hint(name, models.list_models())}"])
    builder = getattr(module, name)
    takes = inspect.signature(builder).parameters
    return functools.partial(builder, weights_backbone=None) if "weights_backbone" in takes else builder


def look_first_in(folder: Path) -> None:
    """Put the recipe's own folder first on the import path, and leave it there: loaders may import more when they are
    read."""
    if sys.path[:1] != [str(folder)]:
        sys.path.insert(0, str(folder))


def _load_weights(model: nn.Module, path: Path) -> None:
    try:
        state = read_tensors(path)
    except Exception as error:
        if is_shortage(error):
            raise
        reason = f"not a file of weights, or cut off: {one_line(error)}"
        if "weights_only" in str(error):  # torch advises to run whatever code is in the file
            reason = "no state dict; write one with torch.save(model.state_dict(), FILE)"
        raise ModelError(f"model.weights: {path}: {reason}") from error
    if isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
        state = state["state_dict"]
    if not isinstance(state, Mapping) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()
    ):
        raise ModelError(f"model.weights: {path}: not a state dict, names with a tensor each")
    wanted = model.state_dict()
    # Files older than these counters lack them, and evaluation does not read them.
    state = {**{n: v for n, v in wanted.items() if n.endswith("num_batches_tracked")}, **state}
    reason = _misfit(wanted, state)
    if reason:
        raise ModelError(f"model.weights: {path}: does not fit the network: {reason}")
    bad = [n for n, v in state.items() if v.is_floating_point() and not bool(torch.isfinite(v).all())]
    if bad:
        raise ModelError(f"model.weights: {path}: numbers that are not finite in {few(bad)}")
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
    return "; ".join(f"{label}: {few(names)}" for label, names in rows if names)
