"""Features inside boxes, resampled to a fixed size.

RoIAlign (He et al., *Mask R-CNN*, ICCV 2017) over the levels of a feature pyramid (Lin et al., *Feature pyramid
networks*, CVPR 2017). A cell of the result is the mean of bilinear samples, so it is a weighted sum of a fixed number
of positions; all levels are one table of positions, and those a cell reads are found by index arithmetic.
"""

# Annotations are not postponed here: torch.jit reads those of the classes, and does not understand strings.

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from legodnn.builder.graph.tracing.opaque import Opaque


def neighbours(start: Tensor, length: Tensor, size: Tensor, cells: int, samples: int) -> tuple[Tensor, Tensor]:
    """The positions along one axis that samples lie between, and their weights.

    Each of r regions starts at ``start`` and is ``length`` long, in positions of a map of ``size`` (int64), all (r,).
    Returns int64 and float32 (r, cells, samples, 2). A sample more than one position outside the map has weight 0.
    """
    cell = (length / cells).reshape(-1, 1, 1)
    steps = torch.arange(cells, device=start.device).reshape(1, -1, 1)
    within = torch.arange(samples, device=start.device).reshape(1, 1, -1) + 0.5
    at = start.reshape(-1, 1, 1) + steps * cell + within * cell / samples
    size = size.reshape(-1, 1, 1)
    inside = ((at >= -1.0) & (at <= size)).to(at.dtype)
    at = torch.minimum(at.clamp(min=0.0), (size - 1).to(at.dtype))
    low = at.floor()
    beyond = at - low
    below = low.to(torch.int64)
    places = torch.stack([below, torch.minimum(below + 1, size - 1)], -1)
    return places, torch.stack([(1.0 - beyond) * inside, beyond * inside], -1)


def region_align(pool: Any, sizes: Sequence[tuple[int, int]], image_height: int) -> "RegionAlign":
    """A `RegionAlign` equal to one of torchvision's ``MultiScaleRoIAlign`` on maps of these sizes (height, width)."""
    canonical = pool.canonical_scale, pool.canonical_level
    return RegionAlign(sizes, image_height, tuple(pool.output_size), pool.sampling_ratio, *canonical)


class RegionAlign(Opaque):
    """RoIAlign with a fixed number of samples, each region taken from the level of the pyramid that fits its size.

    ``sizes`` are the levels' (height, width), for an image ``image_height`` pixels high; a region of
    ``canonical_scale`` pixels squared belongs to the level that shrinks the image ``2 ** canonical_level`` times.
    """

    decides = False

    scales: Tensor
    heights: Tensor
    widths: Tensor
    starts: Tensor

    def __init__(
        self,
        sizes: Sequence[tuple[int, int]],
        image_height: int,
        cells: tuple[int, int],
        samples: int,
        canonical_scale: int = 224,
        canonical_level: int = 4,
    ) -> None:
        super().__init__()
        shrinks = [-round(math.log2(height / image_height)) for height, _ in sizes]
        places = [height * width for height, width in sizes]
        self.finest, self.coarsest = shrinks[0], shrinks[-1]
        self.cells, self.samples = cells, samples
        self.canonical_scale, self.canonical_level = float(canonical_scale), float(canonical_level)
        self.register_buffer("scales", torch.tensor([2.0**-shrink for shrink in shrinks]))
        self.register_buffer("heights", torch.tensor([height for height, _ in sizes]))
        self.register_buffer("widths", torch.tensor([width for _, width in sizes]))
        self.register_buffer("starts", torch.tensor([sum(places[:i]) for i in range(len(places))]))

    def forward(self, features: list[Tensor], boxes: Tensor) -> Tensor:
        """Levels (n, channels, h, w) and boxes (n, r, 4) in pixels to (n * r, channels, cells high, cells wide)."""
        table, place, weight = self.reads(features, boxes)
        return self.regions(F.embedding_bag(place, table, mode="sum", per_sample_weights=weight))

    def reads(self, features: list[Tensor], boxes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The table of all positions of the levels (p, channels), and for every cell of every region the k positions it
        is a weighted sum of, int64 (cells, k), and their weights (cells, k)."""
        table = torch.cat([level.flatten(2) for level in features], 2)
        n, channels, places = table.shape
        table = table.transpose(1, 2).reshape(n * places, channels)
        image = torch.arange(n, device=boxes.device).unsqueeze(1).expand(n, boxes.shape[1]).reshape(-1)
        boxes = boxes.reshape(-1, 4)

        sides = boxes[:, 2:] - boxes[:, :2]
        side = torch.sqrt(sides.clamp(min=0.0).prod(1))  # boxes without an area belong to the finest level
        level = torch.floor(self.canonical_level + torch.log2(side / self.canonical_scale) + 1e-6)
        level = level.clamp(min=self.finest, max=self.coarsest).to(torch.int64) - self.finest

        region = boxes * self.scales[level].unsqueeze(1)
        lengths = (region[:, 2:] - region[:, :2]).clamp(min=1.0)
        (high, wide), samples = self.cells, self.samples
        y, y_weight = neighbours(region[:, 1], lengths[:, 1], self.heights[level], high, samples)
        x, x_weight = neighbours(region[:, 0], lengths[:, 0], self.widths[level], wide, samples)
        down, across = (-1, high, 1, samples, 1, 2, 1), (-1, 1, wide, 1, samples, 1, 2)
        width = self.widths[level].reshape(-1, 1, 1, 1, 1, 1, 1)
        start = (image * places + self.starts[level]).reshape(-1, 1, 1, 1, 1, 1, 1)
        place = start + y.reshape(down) * width + x.reshape(across)
        weight = y_weight.reshape(down) * x_weight.reshape(across) / (samples * samples)

        bag = 4 * samples * samples
        return table, place.reshape(-1, bag), weight.reshape(-1, bag).to(table.dtype)

    def regions(self, cells: Tensor) -> Tensor:
        """Cells (r * high * wide, channels) as (r, channels, high, wide)."""
        high, wide = self.cells
        return cells.reshape(-1, high, wide, cells.shape[1]).permute(0, 3, 1, 2).contiguous()
