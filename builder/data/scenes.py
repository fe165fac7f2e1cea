"""Scenes: several garments on a textured ground, with exact masks and boxes.

Garments are of five classes. They may hide each other, but of each at least `LEAST_SEEN` is seen; a box is that of what
is seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from legodnn.builder.data.garments import Garments, drawn, garments, grounds, normalised, placements, uniform
from legodnn.shared.tasks.detection import Boxes

LABELS = ("background", "top", "trousers", "dress", "shoe", "bag")

_CLASS_OF_KIND = (1, 2, 1, 3, 1, 4, 1, 4, 5, 4)
"""The class of each of Fashion-MNIST's ten kinds."""

MOST_GARMENTS = 3
LEAST_SEEN = 0.6
"""Of a garment's pixels, the share that others may not hide."""

_SEEDS = {"train": 1, "test": 2, "held-out": 3}


@dataclass(frozen=True)
class Scenes:
    """Images (n, 3, size, size) and masks (n, size, size), both bytes, and the objects of each image."""

    images: Tensor
    masks: Tensor
    objects: list[Boxes]


def scenes(split: str = "train", count: int = 3000, size: int = 96, seed: int = 0) -> Scenes:
    """``count`` scenes of ``size`` x ``size`` pixels, the same for the same arguments.

    Raises `DataError` for a split there is not, and where Fashion-MNIST cannot be read.
    """
    source = garments(split)
    generator = torch.Generator().manual_seed(seed * 1009 + _SEEDS[split])
    images = torch.empty(count, 3, size, size, dtype=torch.uint8)
    masks = torch.zeros(count, size, size, dtype=torch.uint8)
    objects: list[Boxes] = []
    for first in range(0, count, 256):
        last = min(count, first + 256)
        ground = grounds(generator, last - first, size, size)
        for number in range(first, last):
            mask, boxes = _fill(ground[number - first], source, generator)
            masks[number] = mask
            objects.append(boxes)
        images[first:last] = (ground * 255).round().byte()
    return Scenes(images, masks, objects)


def _fill(image: Tensor, source: Garments, generator: torch.Generator) -> tuple[Tensor, Boxes]:
    """Put garments into ``image`` (3, size, size), in place; the mask and the objects."""
    size = image.shape[1]
    count = int(torch.randint(1, MOST_GARMENTS + 1, (), generator=generator))
    chosen = source.take(torch.randint(len(source), (count,), generator=generator))
    scale = uniform(generator, 1.3, 2.1, count) * size / 96
    angle, tint = uniform(generator, -0.35, 0.35, count), uniform(generator, 0.4, 1.0, count, 3, 1, 1)
    middle = uniform(generator, 0.15, 0.85, count, 2) * size
    maps = placements(angle, scale, middle[:, 0], middle[:, 1])
    layers = drawn(torch.stack([chosen.brightness, chosen.opacity], 1), maps, size, size)
    owner = torch.zeros(size, size, dtype=torch.long)
    whole = torch.zeros(count + 1)
    for i in range(count):
        there = layers[i, 1] > 0.5
        before, owner = owner, torch.where(there, torch.tensor(i + 1), owner)
        whole[i + 1] = there.sum()
        seen = torch.bincount(owner.flatten(), minlength=count + 1)[: i + 2]
        if not bool((seen[1:] >= LEAST_SEEN * whole[1 : i + 2]).all()) or not bool(there.any()):
            owner, whole[i + 1] = before, 0  # it would hide too much, or lies outside
            continue
        image.copy_(torch.where(there, (0.25 + 0.75 * layers[i, 0]) * tint[i], image))
    classes = torch.tensor([0, *(_CLASS_OF_KIND[k] for k in chosen.kinds.tolist())])
    return classes[owner].byte(), _objects(owner, classes)


def _objects(owner: Tensor, classes: Tensor) -> Boxes:
    boxes, labels = [], []
    for i in owner.unique().tolist():
        if i:
            ys, xs = (owner == i).nonzero().unbind(1)
            boxes.append([float(xs.min()), float(ys.min()), float(xs.max()) + 1, float(ys.max()) + 1])
            labels.append(int(classes[i]))
    return Boxes.of(torch.tensor(boxes).reshape(-1, 4), torch.tensor(labels, dtype=torch.long))


def masks(
    split: str = "train", count: int = 3000, size: int = 96, batch: int = 32, seed: int = 0
) -> DataLoader[Any]:
    """A loader of (images, masks), shuffled where they are for training."""
    made = scenes(split, count, size, seed)
    data = TensorDataset(normalised(made.images), made.masks.long())
    return DataLoader(data, batch_size=batch, shuffle=split == "train")


def boxes(
    split: str = "train", count: int = 3000, size: int = 96, batch: int = 16, seed: int = 0
) -> DataLoader[Any]:
    """A loader of (images, a list of `Boxes`), shuffled where they are for training."""
    made = scenes(split, count, size, seed)
    data = list(zip(normalised(made.images), made.objects, strict=True))
    return DataLoader(data, batch_size=batch, shuffle=split == "train", collate_fn=_collated)  # type: ignore[arg-type]


def _collated(rows: list[tuple[Tensor, Boxes]]) -> tuple[Tensor, list[Boxes]]:
    return torch.stack([image for image, _ in rows]), [objects for _, objects in rows]
