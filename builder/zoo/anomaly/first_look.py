"""Initial scores of frames without labels, from a camera that does not move.

The difference from the median frame is described by histograms of its edges' directions (Dalal, Triggs, *Histograms of
oriented gradients for human detection*, CVPR 2005). The score is the part of these that a few principal components do
not explain.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

CELLS, BINS, WINDOW = 16, 8, 6
"""Cells along a side of the frame, directions of a cell's histogram, and cells along a side of a window. Not tuned."""

COMPONENTS = 20
"""Principal components that explain frequent windows. Not tuned."""

FRAMES = 256
"""Frames that the median frame and the noise are computed from. Not tuned."""

_STRONGEST = 6.0
"""Differences are clipped here, in median absolute deviations, so that contrast counts less than shape. Not tuned."""

Frames = Callable[[], Iterable[Tensor]]
"""Batches of all frames (n, 3, h, w), from the start each time."""


class FirstLook(nn.Module):
    """Scores frames of height and width ``size`` by their least explained window; call `learn` first."""

    usual: Tensor
    noise: Tensor
    mean: Tensor
    often: Tensor

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        features = BINS * WINDOW**2
        self.register_buffer("usual", torch.zeros(3, *size))
        self.register_buffer("noise", torch.ones(()))
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("often", torch.zeros(features, COMPONENTS))

    @torch.no_grad()
    def learn(self, frames: Frames) -> None:
        """Fit median, noise and components on frames most of which are normal; ``frames`` is iterated over twice."""
        few = _first(frames(), FRAMES)
        self.usual = _levelled(few).median(0)[0]
        self.noise = self._directions(few).sum(1).median().clamp(min=1e-3)
        features = len(self.mean)
        count, total = 0, torch.zeros(features, dtype=torch.float64, device=few.device)
        products = torch.zeros(features, features, dtype=torch.float64, device=few.device)
        for batch in frames():
            rows = self._windows(batch).flatten(0, 1)
            count += len(rows)
            total += rows.double().sum(0)
            products += (rows.t() @ rows).double()
        mean = total / count
        self.mean = mean.float()
        self.often = torch.linalg.eigh(products / count - mean.outer(mean))[1][:, -COMPONENTS:].float()

    def forward(self, x: Tensor) -> Tensor:
        """Frames (n, 3, h, w) to scores (n, 1), at least 0 and higher for what is rare."""
        windows = self._windows(x) - self.mean
        explained = (windows @ self.often).square().sum(2)
        return (windows.square().sum(2) - explained).clamp(min=0).amax(1, keepdim=True)

    def _windows(self, x: Tensor) -> Tensor:
        """Frames to windows (n, windows, features) of norm 1 at most, less where there is little but noise."""
        windows = F.unfold(self._directions(x), WINDOW)
        length: Tensor = windows.norm(dim=1, keepdim=True) + 3 * WINDOW * self.noise
        return (windows / length).sqrt().transpose(1, 2)

    def _directions(self, x: Tensor) -> Tensor:
        """Frames to histograms of the edges' directions in their difference from the median (n, bins, cells, cells)."""
        moving = F.pad((_levelled(x) - self.usual).clamp(-_STRONGEST, _STRONGEST), (1, 1, 1, 1), mode="replicate")
        across = moving[:, :, 1:-1, 2:] - moving[:, :, 1:-1, :-2]
        down = moving[:, :, 2:, 1:-1] - moving[:, :, :-2, 1:-1]
        strength, colour = (across.square() + down.square()).max(1, keepdim=True)
        across, down = across.gather(1, colour), down.gather(1, colour)
        turn = torch.atan2(down, across).remainder(math.pi) * (BINS / math.pi)
        bins = torch.arange(BINS, device=x.device).view(1, -1, 1, 1)
        apart = (turn - bins).abs()
        share = (1 - torch.minimum(apart, BINS - apart)).clamp(min=0)
        return F.adaptive_avg_pool2d(share * strength.sqrt(), CELLS)


def _levelled(x: Tensor) -> Tensor:
    """Frames (n, 3, h, w) minus their median, in median absolute deviations, by frame and colour, so that light does
    not matter."""
    flat = x.flatten(2)
    middle = flat.median(2, keepdim=True)[0]
    spread = (flat - middle).abs().median(2, keepdim=True)[0].clamp(min=1e-3)
    return ((flat - middle) / spread).view_as(x)


def _first(batches: Iterable[Tensor], count: int) -> Tensor:
    """The first ``count`` frames, or all of them."""
    kept: list[Tensor] = []
    for batch in batches:
        kept.append(batch)
        if sum(map(len, kept)) >= count:
            break
    return torch.cat(kept)[:count]
