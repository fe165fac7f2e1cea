"""Scenes: several garments on a textured ground, with exact masks and boxes.

Garments are of five classes. They may hide each other, but of each at least `LEAST_SEEN` is seen; a box is that of what
is seen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from legodnn.builder.zoo.common.garments import (
    Garments,
    drawn,
    garments,
    grounds,
    normalised,
    placements,
    tinted,
    uniform,
)
from legodnn.shared.tasks.detection import Boxes

LABELS = ("background", "top", "trousers", "dress", "shoe", "bag")

_CLASS_OF_KIND = (1, 2, 1, 3, 1, 4, 1, 4, 5, 4)
"""The class of each of Fashion-MNIST's ten kinds."""

MOST_GARMENTS = 3
"""Garments of a scene at most. Not tuned."""

LEAST_SEEN = 0.6
"""The share of a garment's pixels that is seen at least. Not tuned."""

_SEEDS = {"train": 1, "test": 2, "held-out": 3}
_TOGETHER = 64
"""Scenes made at a time: more were slower, out of the processor's cache. Not tuned further."""


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
    masks = torch.empty(count, size, size, dtype=torch.uint8)
    objects: list[Boxes] = []
    for first in range(0, count, _TOGETHER):
        n = min(_TOGETHER, count - first)
        picture = grounds(generator, n, size, size)
        owner, classes = _fill(picture, source, generator)
        images[first : first + n] = (picture * 255).round().byte()
        masks[first : first + n] = classes.gather(1, owner.flatten(1).long()).view_as(owner)
        objects += _objects(owner, classes)
    return Scenes(images, masks, objects)


def _fill(picture: Tensor, source: Garments, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Put garments into ``picture`` (n, 3, size, size), in place.

    Returns whose each pixel is, uint8 (n, size, size): 0 for the ground's, i for the i-th garment's; and the classes of
    these, uint8 (n, 1 + `MOST_GARMENTS`).
    """
    n, size = len(picture), picture.shape[2]
    wanted = torch.randint(1, MOST_GARMENTS + 1, (n,), generator=generator)
    chosen = torch.randint(len(source), (n, MOST_GARMENTS), generator=generator)
    scale = uniform(generator, 1.3, 2.1, n, MOST_GARMENTS) * size / 96
    angle = uniform(generator, -0.35, 0.35, n, MOST_GARMENTS)
    tint = uniform(generator, 0.4, 1.0, n, MOST_GARMENTS, 3, 1, 1)
    x, y = uniform(generator, 0.15, 0.85, 2, n, MOST_GARMENTS) * size
    owner = torch.zeros(n, size, size, dtype=torch.uint8)
    whole = torch.zeros(n, MOST_GARMENTS + 1)
    for i in range(MOST_GARMENTS):
        to_fill = (wanted > i).nonzero().flatten()
        garment = source.take(chosen[to_fill, i])
        maps = placements(*(part[to_fill, i] for part in (angle, scale, x, y)))
        brightness, opacity = drawn(garment.layers, maps, size, size).unbind(1)
        there = opacity > 0.5
        whole[to_fill, i + 1] = there.flatten(1).sum(1).float()
        after = owner[to_fill].masked_fill(there, i + 1)
        fits = _seen_enough(after, whole[to_fill, : i + 2])
        whole[to_fill[~fits], i + 1] = 0
        to_fill, there, after, brightness = to_fill[fits], there[fits], after[fits], brightness[fits]
        owner[to_fill] = after
        coloured = tinted(brightness.unsqueeze(1), tint[to_fill, i])
        picture[to_fill] = torch.where(there.unsqueeze(1), coloured, picture[to_fill])
    classes = torch.tensor(_CLASS_OF_KIND, dtype=torch.uint8)[source.kinds[chosen]]
    return owner, torch.cat([torch.zeros(n, 1, dtype=torch.uint8), classes], 1)


def _seen_enough(owner: Tensor, whole: Tensor) -> Tensor:
    """Whether the last garment is in the picture and hides too much of no other, bool (n,).

    ``owner`` (n, size, size) as it would be with it, ``whole`` (n, 1 + garments) the pixels of each by itself.
    """
    seen = torch.stack([(owner == i).flatten(1).sum(1) for i in range(1, whole.shape[1])], 1)
    return (seen >= LEAST_SEEN * whole[:, 1:]).all(1) & (whole[:, -1] > 0)


def _objects(owner: Tensor, classes: Tensor) -> list[Boxes]:
    """The objects of each picture, from what `_fill` returns."""
    size = owner.shape[1]
    mine = torch.stack([owner == i for i in range(1, classes.shape[1])], 1)
    there = mine.flatten(2).any(2)
    down, across = mine.any(3).byte(), mine.any(2).byte()
    # Of equal values argmax takes the first: the first row or column, and from the other end the last.
    ends = [size - line.flip(2).argmax(2) for line in (across, down)]
    corners = torch.stack([across.argmax(2), down.argmax(2), *ends], 2).float()
    labels = classes[:, 1:].long()
    return [Boxes.of(box[seen], label[seen]) for box, label, seen in zip(corners, labels, there, strict=True)]


def masks(
    split: str = "train", count: int = 3000, size: int = 96, batch: int = 32, seed: int = 0
) -> DataLoader[Any]:
    """A loader of (images, masks), shuffled where they are for training."""
    made = scenes(split, count, size, seed)
    return _loader(split, TensorDataset(made.images, made.masks), batch, _with_masks)


def boxes(
    split: str = "train", count: int = 3000, size: int = 96, batch: int = 16, seed: int = 0
) -> DataLoader[Any]:
    """A loader of (images, a list of `Boxes`), shuffled where they are for training."""
    made = scenes(split, count, size, seed)
    return _loader(split, list(zip(made.images, made.objects, strict=True)), batch, _with_boxes)


def _loader(split: str, rows: Any, batch: int, collated: Callable[[Any], Any]) -> DataLoader[Any]:
    """A loader whose pictures are bytes, a quarter of the memory, until they are in a batch."""
    return DataLoader(rows, batch_size=batch, shuffle=split == "train", collate_fn=collated)


def _with_masks(rows: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    images, masks = zip(*rows, strict=True)
    return normalised(torch.stack(images)), torch.stack(masks).long()


def _with_boxes(rows: list[tuple[Tensor, Boxes]]) -> tuple[Tensor, list[Boxes]]:
    images, objects = zip(*rows, strict=True)
    return normalised(torch.stack(images)), list(objects)
