"""Pose estimation: COCO's keypoints, one example for every annotation.

The input is the annotation's box, extended about its centre to the aspect ratio of the network's input, so that nothing
is distorted; pixels outside the picture are black. A pose's size is the longer side of the box, or the annotation's
``size`` in pixels of the picture, if it has one.
"""

from __future__ import annotations

import functools
from typing import Any, List, Mapping, Optional, Sequence, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

from legodnn.shared.bundle.manifest import InputSpec
from legodnn.shared.datasets.boxes import Box, clipped
from legodnn.shared.datasets.coco import Coco, Picture, is_crowd, json_file, numbers_of, read_coco
from legodnn.shared.datasets.dataset import Dataset, Example, Loaded, Skipped
from legodnn.shared.datasets.paths import require_some
from legodnn.shared.datasets.regions import finite
from legodnn.shared.errors import DataError, InputError
from legodnn.shared.naming import few
from legodnn.shared.vision.images import require_pillow
from legodnn.shared.vision.preprocess import Fit, file_image


def open_keypoints(path: str, spec: InputSpec) -> Dataset:
    """Poses; truths are keypoints, float32 (1, k, 3), in pixels of the network's input, and the size, float32 (1,)."""
    require_pillow()
    fit = Fit(spec)
    coco = _read(path)
    count = _count(coco, spec.labels)
    examples: List[Example] = []
    skipped = list(coco.skipped)
    for picture in coco.pictures:
        for annotation in picture.annotations:
            name = f"{picture.name}, annotation {annotation['id']}"
            try:
                points = _keypoints(annotation, count)
            except InputError as error:
                skipped.append(Skipped(name, str(error)))
                continue
            examples.append(Example(name, functools.partial(_load, picture, annotation, points, fit)))
    if not examples and skipped:
        raise DataError(f"{coco.path}: none of {len(skipped)} poses can be used, the first: {skipped[0].reason}")
    require_some(examples, coco.path, "poses")
    return Dataset(coco.path, tuple(examples), tuple(skipped))


def keypoint_names(path: str) -> Sequence[str]:
    """The names of the keypoints; empty where the data have none."""
    names = _names(_read(path))
    return names if names is not None else ()


def _read(path: str) -> Coco:
    file = json_file(path)
    if file is None:
        raise DataError(f"{path}: no poses found; a COCO JSON file expected")
    return read_coco(file)


def _names(coco: Coco) -> Optional[Tuple[str, ...]]:
    """The names of the keypoints of the annotated categories; None where they have none."""
    used = {a["category_id"] for picture in coco.pictures for a in picture.annotations}
    lists = [coco.categories[number].get("keypoints") for number in used]
    named = {tuple(map(str, names)) for names in lists if isinstance(names, list)}
    if len(named) > 1:
        raise DataError(f"{coco.path}: categories with different keypoints; a network finds those of one")
    return named.pop() if named else None


def _count(coco: Coco, labels: Sequence[str]) -> int:
    """The number of keypoints of a pose. Raises `DataError` where they are not the network's."""
    names = _names(coco)
    if names is not None:
        if labels and tuple(labels) != names:
            raise DataError(f"{coco.path}: keypoints {few(names)}; the network's are {few(labels)}")
        return len(names)
    if labels:
        return len(labels)
    lists = [a.get("keypoints") for picture in coco.pictures for a in picture.annotations]
    found = {len(numbers) // 3 for numbers in lists if isinstance(numbers, list)}
    if len(found) != 1:
        raise DataError(f"{coco.path}: its categories name no keypoints, and it is not plain how many there are")
    return found.pop()


def _keypoints(annotation: Mapping[str, Any], count: int) -> Tensor:
    """Keypoints, float64 (count, 3). Raises `InputError` where they cannot be used."""
    if is_crowd(annotation):
        raise InputError("it stands for a crowd")
    points = torch.tensor(numbers_of(annotation, "keypoints", 3 * count), dtype=torch.float64).view(count, 3)
    if not bool((points[:, 2] > 0).any()):
        raise InputError("none of its keypoints is visible")
    return points


def _load(picture: Picture, annotation: Mapping[str, Any], points: Tensor, fit: Fit) -> Loaded:
    image = file_image(picture.file)
    height, width = image.shape[1:]
    picture.require_size(width, height)
    left, top, across, down = numbers_of(annotation, "bbox", 4)
    left, top, right, bottom = clipped((left, top, left + across, top + down), width, height)
    if right <= left or bottom <= top:
        raise InputError("no part of its box is in the picture")
    x, y, visible = points.unbind(1)
    in_picture = (x >= 0) & (x <= width) & (y >= 0) & (y <= height)
    gone = int(((visible > 0) & ~in_picture).sum())
    visible = torch.where(in_picture, visible, torch.zeros_like(visible))
    if not bool((visible > 0).any()):
        raise InputError("none of its visible keypoints is in the picture")
    seen, corner = _crop(image, (left, top, right, bottom), fit.size[0] / fit.size[1])
    scale = torch.tensor([fit.size[1] / seen.shape[2], fit.size[0] / seen.shape[1]], dtype=torch.float64)
    places = (torch.stack([x, y], 1) - torch.tensor(corner, dtype=torch.float64)) * scale
    if "size" in annotation:
        size = _size(annotation) * float(scale.max())
    else:
        size = max((right - left) * float(scale[0]), (bottom - top) * float(scale[1]))
    truths = (torch.cat([places, visible.unsqueeze(1)], 1).float().unsqueeze(0), torch.tensor([size]))
    remarks = (f"{gone} keypoints outside the picture, taken for invisible",) if gone else ()
    return Loaded(fit(seen), truths, remarks)


def _size(annotation: Mapping[str, Any]) -> float:
    size = annotation["size"]
    if not finite(size) or size <= 0:
        raise InputError(f"annotation {annotation['id']}: size is no number above 0")
    return float(size)


def _crop(image: Tensor, box: Box, shape: float) -> Tuple[Tensor, Tuple[float, float]]:
    """The part of an image around a box, ``shape`` times as high as wide, in whole pixels, and its left and upper edge
    in
    the image."""
    left, top, right, bottom = box
    across = max(right - left, (bottom - top) / shape)
    middle_x, middle_y = (left + right) / 2, (top + bottom) / 2
    width, height = max(1, round(across)), max(1, round(across * shape))
    x, y = round(middle_x - width / 2), round(middle_y - height / 2)
    inside = image[:, max(0, y) : y + height, max(0, x) : x + width]
    edges = (max(0, -x), max(0, x + width - image.shape[2]), max(0, -y), max(0, y + height - image.shape[1]))
    return F.pad(inside, edges), (float(x), float(y))
