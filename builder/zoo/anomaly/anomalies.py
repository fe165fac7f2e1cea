"""Anomalies: one kind of garment is normal, all others are not, nor are damaged ones of its own kind."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from legodnn.builder.zoo.common.garments import Garments, garments

TROUSERS = 1
DAMAGED = 0.25
"""Share of the abnormal images that are damaged ones of the normal kind. Not tuned."""

_SEEDS = {"train": 31, "test": 32, "held-out": 33}


def images(split: str = "train", count: int = 5000, size: int = 32, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Images (count, 3, size, size), bytes, and whether they are abnormal (count,), int64 0 or 1.

    For training all are normal; otherwise every second one is abnormal. Raises `DataError` for a split there is not,
    and where Fashion-MNIST cannot be read.
    """
    every = garments(split)
    normal = every.of_kinds((TROUSERS,))
    generator = torch.Generator().manual_seed(seed * 1009 + _SEEDS[split])
    abnormal = torch.zeros(count, dtype=torch.long) if split == "train" else torch.arange(count) % 2
    damaged = (abnormal == 1) & (torch.rand(count, generator=generator) < DAMAGED)
    pixels = normal.take(torch.randint(len(normal), (count,), generator=generator)).brightness.clone()
    others = every.of_kinds(tuple(k for k in range(10) if k != TROUSERS))
    strange = (abnormal == 1) & ~damaged
    pixels[strange] = _drawn_from(others, int(strange.sum()), generator)
    for number in damaged.nonzero().flatten().tolist():
        pixels[number] = _damaged(pixels[number], generator)
    x = F.interpolate(pixels.unsqueeze(1), size=(size, size), mode="bilinear", align_corners=False)
    return (x * 255).round().byte().repeat(1, 3, 1, 1), abnormal


def _drawn_from(source: Garments, count: int, generator: torch.Generator) -> Tensor:
    return source.take(torch.randint(len(source), (count,), generator=generator)).brightness


def _damaged(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """A garment (28, 28) with a hole, a patch, or a part torn off and put back elsewhere."""
    kind = int(torch.randint(3, (), generator=generator))
    high, wide = torch.randint(7, 13, (2,), generator=generator).tolist()
    top = int(torch.randint(2, 26 - high, (), generator=generator))
    left = int(torch.randint(6, 22 - wide, (), generator=generator))
    pixels = pixels.clone()
    if kind == 0:
        pixels[top : top + high, left : left + wide] = 0
    elif kind == 1:
        pixels[top : top + high, left : left + wide] = torch.rand((high, wide), generator=generator)
    else:
        shift = int(torch.randint(5, 9, (), generator=generator))
        pixels[top : top + high] = pixels[top : top + high].roll(shift, 1)
    return pixels


def loader(split: str = "train", count: int = 5000, size: int = 32, batch: int = 64, seed: int = 0) -> DataLoader[Any]:
    """A loader of (images in [-1, 1], whether abnormal), shuffled where they are for training."""
    made, abnormal = images(split, count, size, seed)
    data = TensorDataset(made.float() / 127.5 - 1, abnormal)
    return DataLoader(data, batch_size=batch, shuffle=split == "train")
