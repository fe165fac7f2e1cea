"""Semantic segmentation: a mask of class numbers for each image.

Masks are PNG files with the images' names, in a folder ``masks`` beside ``images`` or as in VOC (all, or a subset by
one of its lists), or they are drawn from COCO's regions: pixels in none are class 0, pixels in several classes are
ignored.
"""

from __future__ import annotations

import functools
import os
from typing import Dict, List, Mapping, Sequence, Tuple

import torch
from torch import Tensor

from legodnn.shared.bundle.manifest import InputSpec
from legodnn.shared.datasets.coco import Coco, Picture, json_file, read_coco
from legodnn.shared.datasets.dataset import Classes, Dataset, Example, Loaded, Skipped
from legodnn.shared.datasets.lists import IMAGES, listed, root_of
from legodnn.shared.datasets.paths import files_in, require_some
from legodnn.shared.datasets.regions import region_mask
from legodnn.shared.errors import DataError, InputError
from legodnn.shared.tasks.segmentation import IGNORED
from legodnn.shared.vision.images import IMAGE_SUFFIXES, read_mask, require_pillow
from legodnn.shared.vision.preprocess import Fit, file_image

_FOLDERS = (("images", "masks"), (IMAGES, "SegmentationClass"))
"""Folders of images and masks; the second pair is VOC's, where most images have no mask."""


def open_masks(path: str, spec: InputSpec) -> Dataset:
    """Images with masks; truths are int64 (1, h, w) at the network's size, `IGNORED` where unlabelled."""
    require_pillow()
    fit = Fit(spec)
    for images, masks in _FOLDERS:
        if os.path.isdir(os.path.join(root_of(path), masks)):
            return _of_files(path, images, masks, fit, spec.labels)
    file = json_file(path)
    if file is None:
        wanted = "images/ and masks/, JPEGImages/ and SegmentationClass/, or a COCO JSON file"
        raise DataError(f"{path}: no masks found; {wanted} expected")
    return _of_coco(read_coco(file), fit, spec.labels)


def mask_names(path: str) -> Sequence[str]:
    """The names of the classes, after a background, from COCO's data; empty for others."""
    masks = any(os.path.isdir(os.path.join(root_of(path), name)) for _, name in _FOLDERS)
    file = None if masks else json_file(path)
    return () if file is None else ("background", *read_coco(file).names())


# ---- masks in files -------------------------------------------------------------------------------------------------
def _of_files(path: str, images: str, masks: str, fit: Fit, labels: Sequence[str]) -> Dataset:
    root, of_list = root_of(path), listed(path)
    if not os.path.isdir(os.path.join(root, images)):
        raise DataError(f"{path}: masks in {masks}/, but no folder {images}/")
    pictures, numbers = _by_stem(os.path.join(root, images)), _by_stem(os.path.join(root, masks))
    if of_list is not None:
        wanted, skipped = of_list
        skipped += [Skipped(stem, f"no image in {images}/") for stem in wanted if stem not in pictures]
        wanted = [stem for stem in wanted if stem in pictures]
        skipped += [Skipped(stem, f"no mask in {masks}/") for stem in wanted if stem not in numbers]
    else:
        wanted = list(pictures)
        skipped = [Skipped(name, f"no image in {images}/") for stem, name in numbers.items() if stem not in pictures]
        if masks == "masks":
            skipped += [Skipped(name, "no mask in masks/") for stem, name in pictures.items() if stem not in numbers]
    examples = [
        Example(
            pictures[stem],
            functools.partial(
                _load,
                os.path.join(root, images, pictures[stem]),
                os.path.join(root, masks, numbers[stem]),
                fit,
                len(labels),
            ),
        )
        for stem in wanted
        if stem in numbers
    ]
    require_some(examples, path, f"image in {images}/ that has a mask of its name in {masks}/")
    return Dataset(root, tuple(examples), tuple(skipped))


def _by_stem(folder: str) -> Dict[str, str]:
    """Names of image files by stem. Raises `DataError` for two of one stem."""
    found: Dict[str, str] = {}
    for name in files_in(folder, IMAGE_SUFFIXES):
        other = found.setdefault(os.path.splitext(name)[0], name)
        if other != name:
            raise DataError(f"{folder}: {other} and {name}: which of them is meant?")
    return found


def _load(image_file: str, mask_file: str, fit: Fit, classes: int) -> Loaded:
    image = file_image(image_file)
    width, height, data = read_mask(mask_file)
    if (height, width) != tuple(image.shape[1:]):
        size = f"{image.shape[2]}x{image.shape[1]}"
        raise InputError(f"{mask_file}: {width}x{height}, its image is {size}")
    mask = torch.frombuffer(bytearray(data), dtype=torch.uint8).view(height, width).long()
    known = mask[mask != IGNORED]
    if classes and known.numel() and int(known.max()) >= classes:
        raise DataError(f"{mask_file}: class {int(known.max())}, but the network's labels are for 0 to {classes - 1}")
    return Loaded(fit(image), (_resized(mask, fit).unsqueeze(0),))


def _resized(mask: Tensor, fit: Fit) -> Tensor:
    """A mask (h, w) at the network's size, by nearest neighbours."""
    rows, columns = (
        ((torch.arange(wanted, dtype=torch.float64) + 0.5) * there / wanted).long()
        for there, wanted in zip(mask.shape, fit.size)
    )
    return mask[rows][:, columns]


# ---- masks from regions ---------------------------------------------------------------------------------------------
def _of_coco(coco: Coco, fit: Fit, labels: Sequence[str]) -> Dataset:
    numbers = coco.numbers(Classes(labels, first=1))
    examples = [Example(p.name, functools.partial(_draw, p, numbers, fit)) for p in coco.pictures]
    require_some(examples, coco.path, "image that is there")
    return Dataset(coco.path, tuple(examples), coco.skipped)


def _draw(picture: Picture, numbers: Mapping[int, int], fit: Fit) -> Loaded:
    image = file_image(picture.file)
    height, width = image.shape[1:]
    picture.require_size(width, height)
    mask = torch.zeros(height, width, dtype=torch.long)
    for number, region in _regions(picture, numbers, height, width):
        of_another = region & (mask != 0) & (mask != number)
        mask = mask.masked_fill(region & (mask == 0), number).masked_fill(of_another, IGNORED)
    return Loaded(fit(image), (_resized(mask, fit).unsqueeze(0),))


def _regions(picture: Picture, numbers: Mapping[int, int], height: int, width: int) -> List[Tuple[int, Tensor]]:
    found: List[Tuple[int, Tensor]] = []
    for annotation in picture.annotations:
        try:
            region = region_mask(annotation.get("segmentation"), height, width)
        except InputError as error:
            # Skipped alone, its pixels would count as background.
            raise InputError(f"{picture.file}: annotation {annotation['id']}: {error}") from None
        found.append((numbers[annotation["category_id"]], region))
    return found
