"""A place watched by a camera: clothes pass by upright, and now and then there is an intruder among them.

Intruders are shoes and bags, which never pass by, and clothes that lie on their side; one frame is enough to see them.
Camera and ground are the same in all splits, garments are not; the light changes slowly.
"""

from __future__ import annotations

import math
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

CLOTHES, STRANGE = (0, 1, 2, 3, 4, 6), (5, 7, 8, 9)
"""The kinds of garments that pass by, and those that never do."""

INTRUDED = {"train": 0.12, "test": 0.4, "held-out": 0.4}
"""The share of turns with an intruder. It is not 0 in training data, since footage without labels has some. Not
tuned."""

LYING = 0.25
"""The share of intruders that are clothes on their side. Not tuned."""

TURN = 4
"""Frames of a turn, in which at most one garment is shown. Not tuned."""

_LANES, _BUSY = 2, 0.75
_HEIGHTS, _INSIDE, _MARGIN = (0.3, 0.8), (0.15, 0.85), 0.25
_NOISE = 0.01
"""Lanes of passers-by and the share of turns that are taken; ranges of heights, of intruders' positions and the margin
outside the frame, as shares of its sides; deviation of the noise. Not tuned."""

_SEEDS = {"train": 41, "test": 42, "held-out": 43}


@dataclass(frozen=True)
class Turns:
    """Who is shown in turns of `TURN` frames, one garment at a time; the first turn starts ``late`` frames in.

    By turn: whether anybody is ``there`` (n,), bool; the garment; its tint (n, 3, 1, 1), angle (n,) in radians, and the
    places where it comes and goes (n, 2), x and y as shares of the picture's sides.
    """

    there: Tensor
    garments: Garments
    tint: Tensor
    angle: Tensor
    comes: Tensor
    goes: Tensor
    late: int

    def at(self, moments: Tensor) -> Tensor:
        """The turn at each moment, int64 as these."""
        return (moments + self.late) // TURN

    def draw(self, pictures: Tensor, moments: Tensor) -> None:
        """Draw those who are shown at these moments, int64 (n,), into pictures (n, 3, size, size) of them, in place."""
        shown = self.there[self.at(moments)].nonzero().flatten()
        moments, size = moments[shown], pictures.shape[-1]
        turn, gone = self.at(moments), ((moments + self.late) % TURN / (TURN - 1)).unsqueeze(1)
        place = self.comes[turn] + (self.goes - self.comes)[turn] * gone
        scale = (0.6 + 0.7 * place[:, 1]) * size / 64  # who is further up is further away
        maps = placements(self.angle[turn], scale, place[:, 0] * size, place[:, 1] * size)
        who = self.garments.take(turn)
        layers = drawn(who.layers, maps, size, size)
        colours = tinted(layers[:, :1], self.tint[turn])
        pictures[shown] = torch.where(layers[:, 1:] > 0.5, colours, pictures[shown])


def footage(split: str = "train", count: int = 4000, size: int = 64, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Frames (count, 3, size, size), bytes, in their order, and whether an intruder is in them (count,), int64 0 or 1.

    The same for the same arguments. Raises `DataError` for a split there is not, and where Fashion-MNIST cannot be
    read.
    """
    source = garments(split)
    clothes, strange = source.of_kinds(CLOTHES), source.of_kinds(STRANGE)
    ground = grounds(torch.Generator().manual_seed(seed * 1009), 1, size, size)
    generator = torch.Generator().manual_seed(seed * 1009 + _SEEDS[split])
    turns = (count - 1) // TURN + 2
    passing = [_passing(clothes, turns, generator) for _ in range(_LANES)]
    intruders = _intruding(clothes, strange, INTRUDED[split], turns, generator)
    light = _light(count, generator)
    frames = torch.empty(count, 3, size, size, dtype=torch.uint8)
    for first in range(0, count, 256):
        moments = torch.arange(first, min(count, first + 256))
        pictures = ground.repeat(len(moments), 1, 1, 1)
        for some in (*passing, intruders):
            some.draw(pictures, moments)
        noise = _NOISE * torch.randn(pictures.shape, generator=generator)
        frames[moments] = ((pictures * light[moments] + noise).clamp(0, 1) * 255).round().byte()
    return frames, intruders.there[intruders.at(torch.arange(count))].long()


def _passing(clothes: Garments, turns: int, generator: torch.Generator) -> Turns:
    """Clothes that cross the picture from one side to the other, upright."""
    left, right = -uniform(generator, 0, _MARGIN, turns), 1 + uniform(generator, 0, _MARGIN, turns)
    to_the_right = torch.rand(turns, generator=generator) < 0.5
    comes, goes = torch.where(to_the_right, left, right), torch.where(to_the_right, right, left)
    height = uniform(generator, *_HEIGHTS, turns)
    return Turns(
        there=torch.rand(turns, generator=generator) < _BUSY,
        garments=_some(clothes, turns, generator),
        tint=uniform(generator, 0.4, 1.0, turns, 3, 1, 1),
        angle=uniform(generator, -0.1, 0.1, turns),
        comes=torch.stack([comes, height], 1),
        goes=torch.stack([goes, height], 1),
        late=int(torch.randint(TURN, (), generator=generator)),
    )


def _intruding(clothes: Garments, strange: Garments, share: float, turns: int, generator: torch.Generator) -> Turns:
    """Strange ones, and clothes on their side, that go from one place in the picture to another."""
    lies = torch.rand(turns, generator=generator) < LYING
    one, other = _some(clothes, turns, generator), _some(strange, turns, generator)
    side = torch.where(torch.rand(turns, generator=generator) < 0.5, -1.0, 1.0) * math.pi / 2
    height = uniform(generator, *_HEIGHTS, turns)
    there = torch.randperm(turns, generator=generator) < round(share * turns)
    return Turns(
        there=there,
        garments=Garments(
            torch.where(lies[:, None, None], one.brightness, other.brightness),
            torch.where(lies[:, None, None], one.opacity, other.opacity),
            torch.where(lies, one.kinds, other.kinds),
        ),
        tint=uniform(generator, 0.4, 1.0, turns, 3, 1, 1),
        angle=uniform(generator, -0.1, 0.1, turns) + lies * side,
        comes=torch.stack([uniform(generator, *_INSIDE, turns), height], 1),
        goes=torch.stack([uniform(generator, *_INSIDE, turns), height], 1),
        late=int(torch.randint(TURN, (), generator=generator)),
    )


def _some(source: Garments, count: int, generator: torch.Generator) -> Garments:
    return source.take(torch.randint(len(source), (count,), generator=generator))


def _light(count: int, generator: torch.Generator) -> Tensor:
    """The brightness of each colour at each moment (count, 3, 1, 1), around 1: all of them together, and each a bit."""
    moments = torch.arange(count).unsqueeze(1)
    period, start = uniform(generator, 300, 900, 4), uniform(generator, 0, 2 * math.pi, 4)
    waves = torch.sin(2 * math.pi * moments / period + start)
    return (1 + 0.2 * waves[:, :1] + 0.05 * waves[:, 1:]).view(count, 3, 1, 1)


def loader(split: str = "train", count: int = 4000, size: int = 64, batch: int = 64, seed: int = 0) -> DataLoader[Any]:
    """A loader of (frames, whether an intruder is in them), shuffled where they are for training."""
    frames, abnormal = footage(split, count, size, seed)
    return DataLoader(TensorDataset(normalised(frames), abnormal), batch_size=batch, shuffle=split == "train")
