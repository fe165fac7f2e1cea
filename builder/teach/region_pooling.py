"""RoIAlign for the training of detectors on a CPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from legodnn.builder.detectors.regions import region_align


class Pooling(nn.Module):
    """In place of one of torchvision's ``MultiScaleRoIAlign``, whose gradient takes several times as long on a CPU."""

    def __init__(self, pool: Any) -> None:
        super().__init__()
        self.pool = pool

    def forward(self, features: Mapping[str, Tensor], proposals: list[Tensor], shapes: list[tuple[int, int]]) -> Tensor:
        """Maps (n, c, h, w) by name and boxes (r, 4) of n images, r differing, to regions (all r, c, high, wide)."""
        maps = [features[name] for name in self.pool.featmap_names if name in features]
        align = region_align(self.pool, [(level.shape[2], level.shape[3]) for level in maps], shapes[0][0])
        padded = pad_sequence(proposals, batch_first=True)
        there = torch.arange(padded.shape[1]) < torch.tensor([len(boxes) for boxes in proposals]).unsqueeze(1)
        return align.regions(_Sums.apply(*align.reads(maps, padded)))[there.flatten()]


class _Sums(torch.autograd.Function):
    """Weighted sums of a table's rows, as ``embedding_bag`` has them; the gradient is computed as such sums, too."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, place: Tensor, weight: Tensor) -> Tensor:
        """A table (p, c), and rows of it, int64 (s, k), with their weights (s, k), to (s, c)."""
        ctx.save_for_backward(place, weight)
        ctx.rows = len(table)
        return F.embedding_bag(place, table, mode="sum", per_sample_weights=weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """The gradient of the sums (s, c) to that of the table (p, c)."""
        place, weight = ctx.saved_tensors
        rows, order = place.flatten().sort(stable=True)
        starts = torch.searchsorted(rows, torch.arange(ctx.rows))
        reader = torch.div(order, place.shape[1], rounding_mode="floor")
        weights = weight.flatten()[order]
        return F.embedding_bag(reader, gradient, starts, mode="sum", per_sample_weights=weights), None, None
