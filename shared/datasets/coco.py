"""COCO's JSON: images, their annotations, and the categories these name.

Lin et al., *Microsoft COCO: common objects in context*, ECCV 2014. The images lie in a folder ``images`` beside the
file, in one called as the file is or as what follows its last ``_`` (``val2017`` for ``instances_val2017.json``), in
either of these one folder further up, or beside the file itself.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Tuple

from legodnn.shared.datasets.dataset import Classes, Skipped
from legodnn.shared.datasets.paths import files_in, inside
from legodnn.shared.datasets.regions import finite
from legodnn.shared.errors import DataError, InputError
from legodnn.shared.naming import few

_LOOKED_AT = 20
"""Images tried to find their folder: some may be missing; not tuned."""


@dataclass(frozen=True)
class Picture:
    """An image: name, file, (width, height) of its annotations (None if unknown), annotations."""

    name: str
    file: str
    size: Optional[Tuple[int, int]]
    annotations: Tuple[Mapping[str, Any], ...]

    def require_size(self, width: int, height: int) -> None:
        """Raise `InputError` where the annotations are for another size than the file's."""
        if self.size not in (None, (width, height)):
            assert self.size is not None
            raise InputError(f"{self.file}: {width}x{height}, its annotations are for {self.size[0]}x{self.size[1]}")


@dataclass(frozen=True)
class Coco:
    """The content of a file: categories by id, existing images, and skipped items."""

    path: str
    categories: Mapping[int, Mapping[str, Any]]
    pictures: Tuple[Picture, ...]
    skipped: Tuple[Skipped, ...]

    def names(self) -> List[str]:
        """The names of the categories, in the order of their ids."""
        return [str(self.categories[number].get("name")) for number in sorted(self.categories)]

    def numbers(self, classes: Classes) -> Dict[int, int]:
        """The network's class for every category in use. Raises `DataError` for one it lacks."""
        used = {a["category_id"] for picture in self.pictures for a in picture.annotations}
        return {n: classes.number(str(self.categories[n].get("name")), self.path) for n in sorted(used)}


def json_file(path: str) -> Optional[str]:
    """The JSON file that a path names, or the only one in the folder or in its sub-folder ``annotations``; None where
    there is none. Raises `DataError` where there are several."""
    if os.path.isfile(path):
        return path if path.lower().endswith(".json") else None
    for folder in (path, os.path.join(path, "annotations")):
        found = files_in(folder, (".json",)) if os.path.isdir(folder) else []
        if len(found) > 1:
            raise DataError(f"{folder}: {len(found)} JSON files ({few(found)}); name one of them")
        if found:
            return os.path.join(folder, found[0])
    return None


def read_coco(path: str) -> Coco:
    """Read a JSON file. Raises `DataError` for another format, or missing images."""
    content = _content(path)
    categories = {c["id"]: c for c in _rows(path, content, "categories") if isinstance(c.get("name"), str)}
    skipped: List[Skipped] = []
    by_image: Dict[int, List[Mapping[str, Any]]] = {}
    images = _rows(path, content, "images")
    for row in images:
        if row["id"] in by_image:
            raise DataError(f"{path}: two images have the id {row['id']}")
        by_image[row["id"]] = []
    for annotation in _rows(path, content, "annotations"):
        name = f"annotation {annotation['id']}"
        image, category = annotation.get("image_id"), annotation.get("category_id")
        if not isinstance(image, int) or image not in by_image:
            skipped.append(Skipped(name, f"there is no image {image!r}"))
            continue
        if not isinstance(category, int) or category not in categories:
            raise DataError(f"{path}: {name} is of category {category!r}, which has no name")
        by_image[image].append(annotation)
    folder = _image_folder(path, images)
    pictures: List[Picture] = []
    for row in images:
        try:
            pictures.append(_picture(row, folder, by_image[row["id"]]))
        except InputError as error:
            skipped.append(Skipped(f"image {row['id']}", str(error)))
    return Coco(path, categories, tuple(pictures), tuple(skipped))


def numbers_of(annotation: Mapping[str, Any], key: str, count: int) -> Tuple[float, ...]:
    """The numbers under a key. Raises `InputError` unless there are that many of them."""
    values = annotation.get(key)
    if not isinstance(values, list) or len(values) != count or not all(map(finite, values)):
        raise InputError(f"annotation {annotation['id']}: {key} is no list of {count} numbers")
    return tuple(float(value) for value in values)


def is_crowd(annotation: Mapping[str, Any]) -> bool:
    """Whether an annotation is a crowd: any number of objects."""
    return annotation.get("iscrowd") in (1, True)


def _content(path: str) -> Mapping[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not readable as JSON ({str(error).splitlines()[0]})") from None
    if not isinstance(content, dict):
        raise DataError(f"{path}: no COCO annotations: an object expected, not a {type(content).__name__}")
    return content


def _rows(path: str, content: Mapping[str, Any], key: str) -> List[Mapping[str, Any]]:
    rows = content.get(key)
    if not isinstance(rows, list):
        raise DataError(f"{path}: no COCO annotations: no list '{key}' in it")
    for row in rows:
        if not isinstance(row, dict) or not isinstance(row.get("id"), int):
            raise DataError(f"{path}: no COCO annotations: an item of '{key}' has no id that is a whole number")
    return rows


def _picture(image: Mapping[str, Any], folder: str, annotations: List[Mapping[str, Any]]) -> Picture:
    file = inside(folder, image.get("file_name"))
    if not os.path.isfile(file):
        raise InputError(f"{file}: no such file")
    width, height = image.get("width"), image.get("height")
    size = (width, height) if isinstance(width, int) and isinstance(height, int) else None
    return Picture(image["file_name"], file, size, tuple(annotations))


def _image_folder(path: str, images: List[Mapping[str, Any]]) -> str:
    here, stem = os.path.dirname(path), os.path.splitext(os.path.basename(path))[0]
    names = ("images", stem, stem.rpartition("_")[2])
    folders = [os.path.join(up, name) for up in (here, os.path.join(here, os.pardir)) for name in names] + [here]
    for folder in folders:
        for image in images[:_LOOKED_AT]:
            name = image.get("file_name")
            if isinstance(name, str) and _is_in(folder, name):
                return os.path.normpath(folder)
    if not images:
        raise DataError(f"{path}: it lists no images")
    raise DataError(f"{path}: its images are not found, looked for in {', '.join(map(os.path.normpath, folders))}")


def _is_in(folder: str, name: str) -> bool:
    try:
        return os.path.isfile(inside(folder, name))
    except InputError:
        return False
