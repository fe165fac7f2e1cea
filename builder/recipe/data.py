"""The data sets of a recipe: how those in files are opened and identified."""

from __future__ import annotations

from dataclasses import replace

from legodnn.builder.data.files import Purpose
from legodnn.builder.recipe.schema import DATA_FILES, Call, Recipe
from legodnn.shared.bundle.manifest import InputSpec
from legodnn.shared.datasets.opening import labels_in


def purposed(key: str, call: Call, recipe: Recipe, task: str) -> Call:
    """The call with the data set's `Purpose` as first argument where it is `legodnn.builder.data.files.loader`; any
    other call unchanged."""
    if call.factory != DATA_FILES:
        return call
    purpose = Purpose(key, task, input_spec(recipe), key == "data.train")
    return Call(call.factory, (purpose, *call.args), call.kwargs)


def input_spec(recipe: Recipe) -> InputSpec:
    """The network's input as the recipe describes it."""
    bundle = recipe.bundle
    mean, std = bundle.mean or None, bundle.std or None
    return InputSpec(recipe.model.input, "float32", recipe.layout, mean, std, bundle.labels)


def with_labels(recipe: Recipe, task: str) -> Recipe:
    """The recipe with the names in its training data as the bundle's labels, where it gives none itself.

    Raises `DataError` for data that cannot be read.
    """
    train = recipe.data.train
    if recipe.bundle.labels or train is None or train.factory != DATA_FILES:
        return recipe
    labels = labels_in(task, train.kwargs["path"])
    return replace(recipe, bundle=replace(recipe.bundle, labels=labels))
