"""What determines the results of a recipe's stages, by the recipe's keys: calls with their source code, and data."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from legodnn.builder.recipe.resolve import look_first_in
from legodnn.builder.recipe.schema import DATA_FILES, Call, Recipe
from legodnn.builder.workdir.sources import sources
from legodnn.shared.datasets.coco import json_file, read_coco
from legodnn.shared.datasets.lists import root_of

_LONGEST = 200
"""Longer texts are told by a digest: the file of a stage's inputs is for people to read."""


def call_inputs(key: str, call: Call | None, folder: Path) -> dict[str, str]:
    """A call's text, and the source code that it runs."""
    if call is None:
        return {key: "none"}
    look_first_in(folder)
    module = call.factory.partition(":")[0]
    code = {} if module == "torchvision" else sources(module)
    return {key: _short(repr(call)), **{f"code of {key}: {name}": digest for name, digest in code.items()}}


def data_inputs(key: str, call: Call | None, recipe: Recipe) -> dict[str, str]:
    """What determines the data of one key: a call, or the files of a data set and how they are read.

    Of files it is names, sizes and times; those that are written again with the same content count as others.
    """
    if call is None or call.factory != DATA_FILES:
        return call_inputs(key, call, recipe.folder)
    bundle, shapes = recipe.bundle, [recipe.model.input] * recipe.model.inputs
    read = {"model.input": repr(shapes), "manager": _short(repr(recipe.manager))}
    for name in ("labels", "mean", "std"):
        read[f"bundle.{name}"] = _short(repr(getattr(bundle, name)))
    read["bundle.layout"] = recipe.layout
    return {key: _short(repr(call)), f"files of {key}": _files_digest(call.kwargs["path"]), **read}


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else hashlib.sha256(text.encode()).hexdigest()


def _files_digest(path: Any) -> str:
    root = root_of(path)
    digest = hashlib.sha256()
    for file in _files(root):
        found = file.stat()
        text = f"{os.path.relpath(file, root)}\0{found.st_size}\0{found.st_mtime_ns}\0"
        digest.update(text.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _files(root: str) -> list[Path]:
    """The files of a folder, or a file and the images it lists."""
    if os.path.isdir(root):
        return sorted(p for p in Path(root).rglob("*") if p.is_file())
    pictures = read_coco(root).pictures if json_file(root) else ()
    return [Path(root), *(Path(picture.file) for picture in pictures)]
