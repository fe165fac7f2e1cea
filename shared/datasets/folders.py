"""Image classification and anomaly detection: a folder with a sub-folder for each class, or each kind.

For classification a sub-folder's name is the class. For anomaly detection `NORMAL` are sub-folders of normal images,
all others are abnormal; a folder without sub-folders has unlabelled images for training.
"""

from __future__ import annotations

import functools
import os
from typing import Callable, List, Sequence

import torch

from legodnn.shared.bundle.manifest import InputSpec
from legodnn.shared.datasets.dataset import Classes, Dataset, Example, Loaded, Skipped
from legodnn.shared.datasets.paths import files_below, files_in, require_some, sub_folders
from legodnn.shared.errors import DataError
from legodnn.shared.vision.images import IMAGE_SUFFIXES, require_pillow
from legodnn.shared.vision.preprocess import Fit, file_image

NORMAL = ("good", "normal")
"""Names of the sub-folders whose images are normal."""


def open_classes(path: str, spec: InputSpec) -> Dataset:
    """Images in a folder with a sub-folder for each class; truths are labels, int64 (1,)."""
    classes = Classes(spec.labels)
    return _opened(path, spec, class_names(path), lambda name: classes.number(name, path))


def open_kinds(path: str, spec: InputSpec) -> Dataset:
    """Images in a folder with a sub-folder of normal ones, and others of abnormal ones; truths are int64 (1,), 1 for
    abnormal.

    Without sub-folders all images count as normal: they are for training, not for evaluation.
    """
    kinds = sub_folders(path)
    if not kinds and files_in(path, IMAGE_SUFFIXES):
        return _opened(path, spec, [""], lambda name: 0)
    if not any(kind in NORMAL for kind in kinds):
        raise DataError(f"{path}: no sub-folder of normal images, called {' or '.join(NORMAL)}")
    return _opened(path, spec, kinds, lambda name: int(name not in NORMAL))


def class_names(path: str) -> List[str]:
    """The names of the sub-folders, sorted."""
    names = sub_folders(path)
    require_some(names, path, "sub-folders; one for each class is expected")
    return names


def _opened(path: str, spec: InputSpec, folders: Sequence[str], number: Callable[[str], int]) -> Dataset:
    require_pillow()
    fit = Fit(spec)
    examples: List[Example] = []
    for name in folders:
        truth = number(name)
        for file in files_below(os.path.join(path, name), IMAGE_SUFFIXES):
            whole = os.path.join(name, file)
            examples.append(Example(whole, functools.partial(_load, os.path.join(path, whole), fit, truth)))
    require_some(examples, path, f"images in its sub-folders ({', '.join(IMAGE_SUFFIXES)})")
    outside = files_in(path, IMAGE_SUFFIXES) if "" not in folders else []
    beside = tuple(Skipped(name, "it is in no sub-folder") for name in outside)
    return Dataset(path, tuple(examples), beside)


def _load(file: str, fit: Fit, truth: int) -> Loaded:
    return Loaded(fit(file_image(file)), (torch.tensor([truth]),))
