"""Image classification and anomaly detection: a folder with a sub-folder for each class, or each kind.

Classes are sub-folders by their names. Of kinds, `NORMAL` hold what is normal, all others what is not.
"""

from __future__ import annotations

import functools
import os
from typing import Callable, List

import torch

from legodnn.shared.datasets.dataset import Classes, Dataset, Example, Loaded, Skipped
from legodnn.shared.datasets.paths import files_below, files_in, require_some, sub_folders
from legodnn.shared.errors import DataError
from legodnn.shared.fit import Fit, file_image
from legodnn.shared.images import IMAGE_SUFFIXES, require_pillow
from legodnn.shared.tables import InputSpec

NORMAL = ("good", "normal")
"""Names of the sub-folders whose images are normal."""


def open_classes(path: str, spec: InputSpec) -> Dataset:
    """Images in a folder with a sub-folder for each class; truths are labels, int64 (1,)."""
    classes = Classes(spec.labels)
    return _opened(path, spec, lambda name: classes.number(name, path))


def open_kinds(path: str, spec: InputSpec) -> Dataset:
    """Images in a folder with a sub-folder of normal ones, and others of abnormal ones; truths are int64 (1,), 1 for
    abnormal."""
    kinds = sub_folders(path)
    if not any(kind in NORMAL for kind in kinds):
        raise DataError(f"{path}: no sub-folder of normal images, called {' or '.join(NORMAL)}")
    return _opened(path, spec, lambda name: int(name not in NORMAL))


def class_names(path: str) -> List[str]:
    """The names of the sub-folders, sorted."""
    names = sub_folders(path)
    require_some(names, path, "sub-folders; one for each class is expected")
    return names


def _opened(path: str, spec: InputSpec, number: Callable[[str], int]) -> Dataset:
    require_pillow()
    fit = Fit(spec)
    examples: List[Example] = []
    for name in class_names(path):
        truth = number(name)
        for file in files_below(os.path.join(path, name), IMAGE_SUFFIXES):
            whole = os.path.join(name, file)
            examples.append(Example(whole, functools.partial(_load, os.path.join(path, whole), fit, truth)))
    require_some(examples, path, f"images in its sub-folders ({', '.join(IMAGE_SUFFIXES)})")
    beside = tuple(Skipped(name, "it is in no sub-folder") for name in files_in(path, IMAGE_SUFFIXES))
    return Dataset(path, tuple(examples), beside)


def _load(file: str, fit: Fit, truth: int) -> Loaded:
    return Loaded(fit(file_image(file)), (torch.tensor([truth]),))
