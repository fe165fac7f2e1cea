"""Poses: shirts and the like under known transforms, with keypoints whose places and visibility are known exactly.

The keypoints of a garment are found in its upright image by what its outline says, and go through the same transform.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from legodnn.builder.zoo.common.garments import (
    SIDE,
    Garments,
    drawn,
    garments,
    grounds,
    normalised,
    placements,
    tinted,
    uniform,
)

LABELS = ("neck", "left cuff", "right cuff", "left hem", "right hem")
SKELETON = ((0, 1), (0, 2), (0, 3), (0, 4), (3, 4))

SLEEVED = (0, 2, 4, 6)
"""T-shirt, pullover, coat and shirt among Fashion-MNIST's kinds."""

SIZE = 64
"""The sides of a picture in pixels, by default. Not tuned."""

COVERED = 0.3
"""Share of the pictures in which another garment lies on the first. Not tuned."""

_SEEDS = {"train": 21, "test": 22, "held-out": 23}


@dataclass(frozen=True)
class Poses:
    """Images (n, 3, size, size), bytes; keypoints (n, 5, 3): x, y in pixels, and 1 where visible; and the longer side
    of each garment's box (n,) in pixels."""

    images: Tensor
    keypoints: Tensor
    sizes: Tensor


def keypoints_of(opacity: Tensor) -> Tensor:
    """Neck, cuffs and hems of upright garments with opacity (n, 28, 28), as x and y in their pixels, (n, 5, 2).

    Left is the picture's. The neck is the middle of the highest row; a cuff is what lies furthest out, and a little
    further down for long sleeves; a hem is the lowest corner of the middle part.
    """
    ys, xs = torch.meshgrid(torch.arange(SIDE).float(), torch.arange(SIDE).float(), indexing="ij")
    there = opacity > 0.5
    middle = (xs >= 7) & (xs <= 20)

    def best(score: Tensor, among: Tensor) -> Tensor:
        place = torch.where(among, score, torch.tensor(-1e9)).flatten(1).argmax(1)
        return torch.stack([place % SIDE, torch.div(place, SIDE, rounding_mode="floor")], 1).float()

    top = ys.expand_as(opacity).masked_fill(~there, 1e9).flatten(1).min(1)[0]
    highest = (there & (ys == top[:, None, None])).float()
    neck = torch.stack([(highest * xs).sum((1, 2)) / highest.sum((1, 2)), top], 1)
    right_x = (SIDE - 1) - xs
    return torch.stack(
        [
            neck,
            best(0.2 * ys - xs, there),
            best(0.2 * ys - right_x, there),
            best(ys - 0.5 * xs, there & middle),
            best(ys - 0.5 * right_x, there & middle),
        ],
        1,
    )


def poses(split: str = "train", count: int = 4000, size: int = SIZE, seed: int = 0) -> Poses:
    """``count`` pictures of one garment each, the same for the same arguments.

    Raises `DataError` for a split there is not, and where Fashion-MNIST cannot be read.
    """
    every = garments(split)
    source = every.of_kinds(SLEEVED)
    generator = torch.Generator().manual_seed(seed * 1009 + _SEEDS[split])
    parts = []
    for first in range(0, count, 256):
        n = min(256, count - first)
        chosen = source.take(torch.randint(len(source), (n,), generator=generator))
        parts.append(_pictures(chosen, every, size, generator))
    images, keypoints, sizes = (torch.cat(part) for part in zip(*parts, strict=True))
    return Poses(images, keypoints, sizes)


def _pictures(
    chosen: Garments, others: Garments, size: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    n = len(chosen)
    maps = _transforms(n, size, generator)
    layers = drawn(chosen.layers, maps, size, size)
    there = layers[:, 1:] > 0.5
    tint = uniform(generator, 0.4, 1.0, n, 3, 1, 1)
    picture = torch.where(there, tinted(layers[:, :1], tint), grounds(generator, n, size, size))
    cover, tint = _covers(n, others, size, generator), uniform(generator, 0.4, 1.0, n, 3, 1, 1)
    hidden = cover[:, 1:] > 0.5
    picture = torch.where(hidden, tinted(cover[:, :1], tint), picture)

    flat = keypoints_of(chosen.opacity)
    placed = torch.cat([flat, torch.ones(n, len(LABELS), 1)], 2) @ maps.transpose(1, 2)
    places = placed[..., :2] / placed[..., 2:]
    inside = ((places >= 0) & (places <= size - 1)).all(2)
    pixel = places.round().long().clamp(0, size - 1)
    covered = hidden[:, 0].flatten(1).gather(1, pixel[..., 1] * size + pixel[..., 0])
    visible = (inside & ~covered).float().unsqueeze(2)
    return (picture * 255).round().byte(), torch.cat([places, visible], 2), _longer_sides(chosen, maps)


def _transforms(n: int, size: int, generator: torch.Generator) -> Tensor:
    """Projective maps (n, 3, 3) from a garment's pixels to the picture's: turned, scaled, sheared and tilted."""
    scale = uniform(generator, 1.1, 1.9, n) * size / SIZE
    x, y = size / 2 + uniform(generator, -0.1, 0.1, 2, n) * size
    affine = placements(uniform(generator, -0.6, 0.6, n), scale, x, y)
    middle = torch.eye(3).repeat(n, 1, 1)
    middle[:, :2, 2] = -(SIDE - 1) / 2
    tilt = torch.eye(3).repeat(n, 1, 1)
    tilt[:, 2, :2] = uniform(generator, -0.25, 0.25, n, 2) / SIDE
    tilt[:, 0, 1] = uniform(generator, -0.2, 0.2, n)
    last = torch.tensor([0.0, 0.0, 1.0]).expand(n, 1, 3)
    inverse: Tensor = torch.linalg.inv(middle)
    return torch.cat([affine, last], 1) @ inverse @ tilt @ middle


def _covers(n: int, others: Garments, size: int, generator: torch.Generator) -> Tensor:
    """Garments that cover others: brightness and opacity (n, 2, size, size), transparent in most pictures."""
    chosen = others.take(torch.randint(len(others), (n,), generator=generator))
    on = (torch.rand(n, generator=generator) < COVERED).float()[:, None, None]
    x, y = uniform(generator, 0.1, 0.9, 2, n) * size
    scale = uniform(generator, 0.5, 0.8, n) * size / SIZE
    maps = placements(uniform(generator, -1.5, 1.5, n), scale, x, y)
    return drawn(torch.stack([chosen.brightness, chosen.opacity * on], 1), maps, size, size)


def _longer_sides(chosen: Garments, maps: Tensor) -> Tensor:
    """The longer sides (n,) of the boxes around the garments, whole, in pixels of the picture."""
    ys, xs = torch.meshgrid(torch.arange(SIDE).float(), torch.arange(SIDE).float(), indexing="ij")
    points = torch.stack([xs.flatten(), ys.flatten(), torch.ones(SIDE * SIDE)])
    placed = maps @ points
    places = placed[:, :2] / placed[:, 2:]
    outside = (chosen.opacity <= 0.5).flatten(1).unsqueeze(1)
    spans = places.masked_fill(outside, -1e9).amax(2) - places.masked_fill(outside, 1e9).amin(2)
    return spans.amax(1)


def loader(
    split: str = "train", count: int = 4000, size: int = SIZE, batch: int = 64, seed: int = 0
) -> DataLoader[Any]:
    """A loader of (images, keypoints, sizes), shuffled where they are for training."""
    made = poses(split, count, size, seed)
    data = TensorDataset(normalised(made.images), made.keypoints, made.sizes)
    return DataLoader(data, batch_size=batch, shuffle=split == "train")
