"""Object detection: COCO's JSON, or VOC's XML, whole or a subset by one of its lists.

Boxes are clipped to the picture; those outside it are skipped.
"""

from __future__ import annotations

import functools
import os
from typing import List, Mapping, Sequence, Tuple

import torch

from legodnn.shared.bundle.manifest import InputSpec
from legodnn.shared.datasets.coco import Coco, Picture, is_crowd, json_file, numbers_of, read_coco
from legodnn.shared.datasets.dataset import Classes, Dataset, Example, Loaded, Skipped
from legodnn.shared.datasets.lists import IMAGES, listed, root_of
from legodnn.shared.datasets.paths import files_in, inside, require_some
from legodnn.shared.datasets.voc import VocImage, read_voc
from legodnn.shared.errors import DataError, InputError
from legodnn.shared.tasks.detection import Boxes
from legodnn.shared.vision.images import require_pillow
from legodnn.shared.vision.preprocess import Fit, file_image

_ANNOTATIONS = "Annotations"

Box = Tuple[float, float, float, float]

Row = Tuple[str, Box, int, bool]
"""An object: its name in remarks, its box in pixels of the file, its label, whether it is a crowd."""


def open_boxes(path: str, spec: InputSpec) -> Dataset:
    """Images with boxes; truths are a list of one `Boxes` in pixels of the network's input."""
    require_pillow()
    fit = Fit(spec)
    classes = Classes(spec.labels, first=1)
    if _is_voc(root_of(path)):
        return _of_voc(path, fit, classes)
    file = json_file(path)
    if file is None:
        raise DataError(f"{path}: no boxes found; a COCO JSON file, or {IMAGES}/ and {_ANNOTATIONS}/ expected")
    return _of_coco(read_coco(file), fit, classes)


def box_names(path: str) -> Sequence[str]:
    """The names of the classes, after that of the background, label 0; for a list those of its whole data set, since a
    subset may lack some."""
    root = root_of(path)
    if _is_voc(root):
        found, _ = _voc_images(root, files_in(os.path.join(root, _ANNOTATIONS), (".xml",)))
        return ("background", *sorted({thing.name for _, image in found for thing in image.objects}))
    file = json_file(path)
    return () if file is None else ("background", *read_coco(file).names())


# ---- COCO -----------------------------------------------------------------------------------------------------------
def _of_coco(coco: Coco, fit: Fit, classes: Classes) -> Dataset:
    numbers = coco.numbers(classes)
    examples = [Example(p.name, functools.partial(_load_coco, p, numbers, fit)) for p in coco.pictures]
    require_some(examples, coco.path, "image that is there")
    return Dataset(coco.path, tuple(examples), coco.skipped)


def _load_coco(picture: Picture, numbers: Mapping[int, int], fit: Fit) -> Loaded:
    rows: List[Row] = []
    for annotation in picture.annotations:
        left, top, width, height = numbers_of(annotation, "bbox", 4)
        box = (left, top, left + width, top + height)
        rows.append((f"annotation {annotation['id']}", box, numbers[annotation["category_id"]], is_crowd(annotation)))
    return _loaded(picture, rows, fit)


# ---- VOC ------------------------------------------------------------------------------------------------------------
def _is_voc(path: str) -> bool:
    return os.path.isdir(os.path.join(path, _ANNOTATIONS)) and os.path.isdir(os.path.join(path, IMAGES))


def _voc_images(root: str, files: Sequence[str]) -> Tuple[List[Tuple[str, VocImage]], List[Skipped]]:
    found: List[Tuple[str, VocImage]] = []
    skipped: List[Skipped] = []
    for name in files:
        try:
            found.append((name, read_voc(inside(os.path.join(root, _ANNOTATIONS), name), os.path.join(root, IMAGES))))
        except InputError as error:
            skipped.append(Skipped(name, str(error)))
    return found, skipped


def _of_voc(path: str, fit: Fit, classes: Classes) -> Dataset:
    root, of_list = root_of(path), listed(path)
    if of_list is None:
        files, again = files_in(os.path.join(root, _ANNOTATIONS), (".xml",)), []
    else:
        files, again = [f"{name}.xml" for name in of_list[0]], of_list[1]
    found, skipped = _voc_images(root, files)
    examples: List[Example] = []
    for name, image in found:
        picture = Picture(os.path.basename(image.file), image.file, image.size, ())
        where = os.path.join(root, _ANNOTATIONS, name)
        rows: List[Row] = [
            # Difficult objects count neither for nor against, as crowds do.
            (f"object {i}", thing.box, classes.number(thing.name, where), thing.difficult)
            for i, thing in enumerate(image.objects)
        ]
        examples.append(Example(picture.name, functools.partial(_loaded, picture, rows, fit)))
    if not examples and skipped:
        raise DataError(f"{path}: none of {len(skipped)} annotations can be used, the first: {skipped[0].reason}")
    require_some(examples, path, f"XML files in {_ANNOTATIONS}/")
    return Dataset(root, tuple(examples), (*skipped, *again))


# ---- both -----------------------------------------------------------------------------------------------------------
def _loaded(picture: Picture, rows: Sequence[Row], fit: Fit) -> Loaded:
    image = file_image(picture.file)
    height, width = image.shape[1:]
    picture.require_size(width, height)
    kept: List[Row] = []
    remarks: List[str] = []
    for name, box, label, crowd in rows:
        cut = clipped(box, width, height)
        if cut[2] > cut[0] and cut[3] > cut[1]:
            kept.append((name, cut, label, crowd))
        else:
            remarks.append(f"{name}: no part of its box is in the picture; left out")
    scale = torch.tensor([fit.size[1] / width, fit.size[0] / height] * 2, dtype=torch.float64)
    boxes = torch.tensor([box for _, box, _, _ in kept], dtype=torch.float64).reshape(-1, 4) * scale
    labels = torch.tensor([label for _, _, label, _ in kept], dtype=torch.long)
    crowd_rows = torch.tensor([crowd for _, _, _, crowd in kept], dtype=torch.bool)
    return Loaded(fit(image), ([Boxes(boxes.float(), labels, crowd_rows)],), tuple(remarks))


def clipped(box: Box, width: int, height: int) -> Box:
    """A box clipped to a picture; with negative width or height where it is outside."""
    left, top, right, bottom = box
    return max(left, 0.0), max(top, 0.0), min(right, float(width)), min(bottom, float(height))
