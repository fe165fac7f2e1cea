"""Garments of Fashion-MNIST cut out of their black background, to be put into other pictures.

The three splits come from images that have nothing in common: ``train`` from the data set's training images, ``test``
(what networks are profiled on) and ``held-out`` (which no stage reads) from the two halves of its test images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from legodnn.builder.zoo.common import fashion_mnist
from legodnn.shared.errors import DataError

SPLITS = {"train": ("train", 0, 60_000), "test": ("test", 0, 5000), "held-out": ("test", 5000, 10_000)}
"""Which images of Fashion-MNIST a split's garments come from."""

EDGE = 0.06
"""The least brightness of a garment's pixels; the background is 0. Not tuned."""

SIDE = 28
"""Height and width of the images."""

MEAN, STD = 0.45, 0.25
"""Mean and standard deviation that pictures made of garments are normalised with."""


@dataclass(frozen=True)
class Garments:
    """Cut-out garments: brightness and opacity (n, 28, 28), float32 in [0, 1], and their classes (n,), int64."""

    brightness: Tensor
    opacity: Tensor
    kinds: Tensor

    def __len__(self) -> int:
        return len(self.kinds)

    @property
    def layers(self) -> Tensor:
        """Brightness and opacity, to be drawn: (n, 2, 28, 28)."""
        return torch.stack([self.brightness, self.opacity], 1)

    def of_kinds(self, kinds: tuple[int, ...]) -> Garments:
        """The garments of some of the classes."""
        index = torch.isin(self.kinds, torch.tensor(kinds)).nonzero().flatten()
        return self.take(index)

    def take(self, index: Tensor) -> Garments:
        """The garments with these indices, int64 (k,)."""
        return Garments(self.brightness[index], self.opacity[index], self.kinds[index])


def garments(split: str) -> Garments:
    """The garments of a split. Raises `DataError` for a split there is not, and for files that are not right."""
    if split not in SPLITS:
        raise DataError(f"split '{split}' is none of {', '.join(SPLITS)}")
    name, first, last = SPLITS[split]
    pixels, labels = fashion_mnist.pixels(name, first, last)
    brightness = torch.from_numpy(pixels.copy()).float() / 255
    opacity = (brightness > EDGE).float()
    return Garments(brightness, opacity, torch.from_numpy(labels.copy()).long())


def uniform(generator: torch.Generator, low: float, high: float, *shape: int) -> Tensor:
    """Random numbers from ``low`` to ``high``, float32 of this shape."""
    return low + (high - low) * torch.rand(shape, generator=generator)


def placements(angle: Tensor, scale: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Affine maps (n, 2, 3) from a garment's pixels to a picture's.

    Turned by ``angle`` (radians, clockwise as seen), ``scale`` times as large, the middle at (``x``, ``y``); all (n,).
    """
    cosine, sine = scale * angle.cos(), scale * angle.sin()
    middle = (SIDE - 1) / 2
    across = torch.stack([cosine, -sine, x - middle * (cosine - sine)], 1)
    down = torch.stack([sine, cosine, y - middle * (sine + cosine)], 1)
    return torch.stack([across, down], 1)


def drawn(layers: Tensor, to_picture: Tensor, height: int, width: int) -> Tensor:
    """Layers (n, c, 28, 28) as they appear in a picture, (n, c, height, width), under maps (n, 2, 3) or (n, 3, 3).

    A map takes (x, y) in a garment's pixels to pixels of the picture; one of three rows is projective. Nothing is drawn
    outside the garment's image.
    """
    n = len(to_picture)
    if to_picture.shape[1] == 2:
        last = torch.tensor([0.0, 0.0, 1.0]).expand(n, 1, 3)
        to_picture = torch.cat([to_picture, last], 1)
    back = torch.linalg.inv(to_picture)
    ys, xs = torch.meshgrid(torch.arange(height).float(), torch.arange(width).float(), indexing="ij")
    points = torch.stack([xs.flatten(), ys.flatten(), torch.ones(height * width)])
    found = back @ points
    places = found[:, :2] / found[:, 2:]
    sampled = (2 * places + 1) / SIDE - 1
    return F.grid_sample(
        layers, sampled.transpose(1, 2).reshape(n, height, width, 2), mode="bilinear", align_corners=False
    )


def tinted(brightness: Tensor, tint: Tensor) -> Tensor:
    """Garments (..., 1, h, w) in the colours of tints (..., 3, 1, 1), which the darkest have a quarter of."""
    return (0.25 + 0.75 * brightness) * tint


def grounds(generator: torch.Generator, count: int, height: int, width: int) -> Tensor:
    """Textured, coloured grounds (count, 3, height, width) in [0, 0.7]: noise of three sizes, and stripes."""
    tint = uniform(generator, 0.1, 0.5, count, 3, 1, 1)
    texture = torch.zeros(count, 1, height, width)
    for cells, strength in ((4, 0.3), (12, 0.2), (height, 0.08)):
        noise = torch.randn((count, 1, cells, cells), generator=generator)
        texture += strength * F.interpolate(noise, size=(height, width), mode="bicubic", align_corners=False)
    angle, period = uniform(generator, 0, math.pi, count, 1, 1), uniform(generator, 4, 16, count, 1, 1)
    ys, xs = torch.meshgrid(torch.arange(height).float(), torch.arange(width).float(), indexing="ij")
    wave = torch.sin((xs * angle.cos() + ys * angle.sin()) * 2 * math.pi / period).unsqueeze(1)
    texture += uniform(generator, 0.0, 0.3, count, 1, 1, 1) * wave
    return (tint * (1 + texture)).clamp(0, 0.7)


def normalised(images: Tensor) -> Tensor:
    """Pictures in [0, 1] or bytes as networks take them, float32."""
    images = images.float() / 255 if images.dtype == torch.uint8 else images
    return (images - MEAN) / STD
