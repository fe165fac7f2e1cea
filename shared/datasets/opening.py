"""`open_dataset`: the reader for an application and a path."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Callable, Mapping, Optional, Sequence, Tuple

from legodnn.shared.bundle.manifest import InputSpec
from legodnn.shared.datasets.boxes import box_names, open_boxes
from legodnn.shared.datasets.dataset import Dataset
from legodnn.shared.datasets.folders import class_names, open_classes, open_kinds
from legodnn.shared.datasets.keypoints import keypoint_names, open_keypoints
from legodnn.shared.datasets.masks import mask_names, open_masks
from legodnn.shared.datasets.videos import open_clips
from legodnn.shared.errors import DataError, InputError


@dataclass(frozen=True)
class _Reader:
    """Opens an application's data sets, and returns the names of classes or keypoints in them; ``file``: whether a path
    may
    be a file."""

    open: Callable[[str, InputSpec], Dataset]
    names: Optional[Callable[[str], Sequence[str]]]
    file: bool = False


_READERS: Mapping[str, _Reader] = {
    "image classification": _Reader(open_classes, class_names),
    "semantic segmentation": _Reader(open_masks, mask_names, file=True),
    "object detection": _Reader(open_boxes, box_names, file=True),
    "action recognition": _Reader(open_clips, class_names),
    "anomaly detection": _Reader(open_kinds, None),
    "pose estimation": _Reader(open_keypoints, keypoint_names, file=True),
}


def open_dataset(task_name: str, path: str, spec: InputSpec) -> Dataset:
    """The data set of an application at a path, for a network that takes ``spec`` and knows its labels.

    Examples are loaded later. Raises `DataError` for a path without a data set, or one that does not fit the network,
    `MissingExtra` where Pillow or PyAV is needed and not installed.
    """
    reader = _reader(task_name, path)
    try:
        return reader.open(path, spec)
    except InputError as error:
        raise DataError(f"{path}: {error}") from None


def labels_in(task_name: str, path: str) -> Tuple[str, ...]:
    """Labels for a network trained on the data set at a path: names of classes or keypoints; empty where the data have
    none. Raises as `open_dataset` does."""
    names = _reader(task_name, path).names
    return tuple(names(path)) if names is not None else ()


def _reader(task_name: str, path: str) -> _Reader:
    if task_name not in _READERS:
        raise DataError(f"{path}: no data sets are known for '{task_name}', only for {', '.join(_READERS)}")
    reader = _READERS[task_name]
    if not os.path.exists(path):
        raise DataError(f"{path}: no such file or folder")
    if not os.path.isdir(path) and not reader.file:
        raise DataError(f"{path}: a folder expected, for {task_name}")
    return reader
