"""The data sets of a recipe: how those in files are opened and identified."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

from legodnn.builder.data.files import Purpose
from legodnn.builder.recipe.schema import DATA_FILES, Call, Recipe
from legodnn.shared.bundle.manifest import InputSpec
from legodnn.shared.datasets.coco import json_file, read_coco
from legodnn.shared.datasets.lists import root_of
from legodnn.shared.datasets.opening import labels_in


def purposed(key: str, call: Call, recipe: Recipe, task: str) -> Call:
    """The call with the data set's `Purpose` as first argument where it is `legodnn.builder.data.files.loader`; any
    other call unchanged."""
    if call.factory != DATA_FILES:
        return call
    bundle = recipe.bundle
    mean, std = bundle.mean or None, bundle.std or None
    spec = InputSpec(recipe.model.input, "float32", recipe.layout, mean, std, bundle.labels)
    return Call(call.factory, (Purpose(key, task, spec, key == "data.train"), *call.args), call.kwargs)


def with_labels(recipe: Recipe, task: str) -> Recipe:
    """The recipe with the names in its training data as the bundle's labels, where it gives none itself.

    Raises `DataError` for data that cannot be read.
    """
    train = recipe.data.train
    if recipe.bundle.labels or train is None or train.factory != DATA_FILES:
        return recipe
    labels = labels_in(task, train.kwargs["path"])
    return replace(recipe, bundle=replace(recipe.bundle, labels=labels))


def described(call: Call | None) -> str:
    """A text that identifies the data: the call and, of data in files, a hash of their names, sizes and times. Files
    that are written again with the same content count as other data, so that stages are done again."""
    if call is None or call.factory != DATA_FILES:
        return repr(call)
    root = root_of(call.kwargs["path"])
    digest = hashlib.sha256()
    for file in _files(root):
        found = file.stat()
        text = f"{os.path.relpath(file, root)}\0{found.st_size}\0{found.st_mtime_ns}\0"
        digest.update(text.encode("utf-8", "surrogateescape"))
    return f"{call!r} {digest.hexdigest()}"


def _files(root: str) -> list[Path]:
    """The files of a folder, or a file and the images it lists."""
    if os.path.isdir(root):
        return sorted(p for p in Path(root).rglob("*") if p.is_file())
    pictures = read_coco(root).pictures if json_file(root) else ()
    return [Path(root), *(Path(picture.file) for picture in pictures)]
