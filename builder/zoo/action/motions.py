"""Clips of garments in motion: the class is the motion, not the garment.

A clip starts with the garment about upright, about in the middle and of about the usual size, so that a network that
sees frames one by one can tell motions apart as well.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from legodnn.builder.zoo.common.garments import drawn, garments, grounds, normalised, placements, tinted, uniform

LABELS = (
    "moves left", "moves right", "moves up", "moves down", "turns clockwise", "turns anticlockwise", "grows", "shrinks",
    "two cross",
)  # fmt: skip

FRAMES, SIZE = 8, 48
"""Frames of a clip and their sides in pixels, by default. Not tuned."""

_SHIFTS = ((-1.0, 0.0), (1.0, 0.0), (0.0, -1.0), (0.0, 1.0))
_CLOCKWISE, _GROWS, _CROSSING = 4, 6, 8
_TURN, _ZOOM = math.radians(80), 1.7
"""The angle and the factor of size over a clip at the usual pace. Not tuned."""
_SEEDS = {"train": 11, "test": 12, "held-out": 13}


def clips(
    split: str = "train", count: int = 2000, frames: int = FRAMES, size: int = SIZE, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Clips (count, frames, 3, size, size), bytes, and their classes (count,), int64; the same for the same arguments.

    Raises `DataError` for a split there is not, and where Fashion-MNIST cannot be read.
    """
    source = garments(split)
    generator = torch.Generator().manual_seed(seed * 1009 + _SEEDS[split])
    classes = torch.arange(count) % len(LABELS)
    made = torch.empty(count, frames, 3, size, size, dtype=torch.uint8)
    for first in range(0, count, 128):
        kinds = classes[first : first + 128]
        first_maps, second_maps = motions(kinds, frames, size, generator)
        n = len(kinds)
        picture = grounds(generator, n, size, size).unsqueeze(1).expand(-1, frames, -1, -1, -1)
        for maps, there in ((first_maps, torch.ones(n)), (second_maps, (kinds == _CROSSING).float())):
            chosen = source.take(torch.randint(len(source), (n,), generator=generator))
            tint = uniform(generator, 0.4, 1.0, n, 1, 3, 1, 1)
            layers = torch.stack([chosen.brightness, chosen.opacity * there[:, None, None]], 1)
            layers = drawn(layers.repeat_interleave(frames, 0), maps.flatten(0, 1), size, size)
            layers = layers.reshape(n, frames, 2, size, size)
            picture = torch.where(layers[:, :, 1:] > 0.5, tinted(layers[:, :, :1], tint), picture)
        made[first : first + n] = (picture * 255).round().byte()
    return made, classes


def motions(classes: Tensor, frames: int, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Affine maps (n, frames, 2, 3) of the first and of the second garment in each frame, see `placements`."""
    n = len(classes)
    moment = torch.linspace(0, 1, frames).expand(n, frames)
    pace = moment * uniform(generator, 0.75, 1.25, n, 1)
    reach = 0.28 * size
    turned = torch.where(classes == _CLOCKWISE, 1.0, torch.where(classes == _CLOCKWISE + 1, -1.0, 0.0))
    zoomed = torch.where(classes == _GROWS, 1.0, torch.where(classes == _GROWS + 1, -1.0, 0.0))
    shift = torch.tensor([*_SHIFTS, *[(0.0, 0.0)] * (len(LABELS) - len(_SHIFTS))])[classes]
    crossing = (classes == _CROSSING).float().unsqueeze(1)
    apart = reach * crossing * (1 - 2 * moment)

    def placed(side: float) -> Tensor:
        angle = uniform(generator, -0.15, 0.15, n, 1) + turned.unsqueeze(1) * _TURN * pace
        scale = uniform(generator, 0.8, 1.0, n, 1) * (size / SIZE) * _ZOOM ** (zoomed.unsqueeze(1) * pace)
        middle = size / 2 + uniform(generator, -0.05, 0.05, n, 2) * size
        x = middle[:, :1] + shift[:, :1] * reach * pace + side * apart
        y = middle[:, 1:] + shift[:, 1:] * reach * pace
        return placements(angle.flatten(), scale.flatten(), x.flatten(), y.flatten()).reshape(n, frames, 2, 3)

    return placed(1.0), placed(-1.0)


def loader(
    split: str = "train",
    count: int = 2000,
    frames: int = FRAMES,
    size: int = SIZE,
    batch: int = 32,
    layout: str = "NTCHW",
    seed: int = 0,
) -> DataLoader[Any]:
    """A loader of (clips, classes), shuffled where they are for training; clips lie as ``layout`` says."""
    made, classes = clips(split, count, frames, size, seed)
    data = normalised(made)
    data = data.transpose(1, 2).contiguous() if layout == "NCTHW" else data
    return DataLoader(TensorDataset(data, classes), batch_size=batch, shuffle=split == "train")
