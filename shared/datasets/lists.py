"""VOC's lists: the images of a subset of a data set, one name per line, without a suffix.

Everingham et al., *The PASCAL visual object classes (VOC) challenge*, IJCV 2010. VOC has them in
``ImageSets``; here any text file below the data set's folder will do. The path of the list names the subset.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import List, Optional, Tuple

from legodnn.shared.datasets.dataset import Skipped
from legodnn.shared.datasets.paths import require_some
from legodnn.shared.errors import DataError

IMAGES = "JPEGImages"
"""VOC's folder of images; its parent is the folder of the data set."""


def root_of(path: str) -> str:
    """The folder of the data set that a list belongs to; any other path as it is.

    Raises `DataError` for a list outside any data set.
    """
    if not _is_list(path):
        return path
    folder = os.path.dirname(os.path.abspath(path))
    while not os.path.isdir(os.path.join(folder, IMAGES)):
        folder, below = os.path.dirname(folder), folder
        if folder == below:
            raise DataError(f"{path}: a list of images, but there is no {IMAGES}/ in any folder above it")
    return folder


def listed(path: str) -> Optional[Tuple[List[str], List[Skipped]]]:
    """The distinct names in a list, in order, and its duplicates; None for any other path.

    Raises `DataError` for a list that is not text, or empty.
    """
    if not _is_list(path):
        return None
    try:
        with open(path, encoding="utf-8-sig") as file:
            lines = [line.strip() for line in file]
    except UnicodeDecodeError:
        raise DataError(f"{path}: not readable as text; a list with one name a line expected") from None
    names = list(dict.fromkeys(line for line in lines if line))
    require_some(names, path, "names of images in it")
    again = [name for name, count in Counter(filter(None, lines)).items() if count > 1]
    return names, [Skipped(name, "listed more than once; taken once") for name in again]


def _is_list(path: str) -> bool:
    return path.lower().endswith(".txt") and os.path.isfile(path)
