"""YOLOv3 as a network that finds objects: the selection of detections from its raw maps.

Redmon, Farhadi, *YOLOv3: an incremental improvement*, arXiv:1804.02767, 2018. Each cell of a map predicts a box for
each of the map's anchors: a centre inside the cell, and sides that are the anchor's times a power of e; how sure it is
that there is an object; and for each class on its own whether the object is of it.
"""

# Annotations are not postponed here: torch.jit reads those of the classes, and does not understand strings.

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from legodnn.builder.detectors.boxes import by_anchor, clipped
from legodnn.builder.detectors.one_stage import best_by_level
from legodnn.builder.graph.tracing.opaque import Opaque

STRIDES = (32, 16, 8)
"""Pixels of the image for each cell of the three maps, coarse to fine."""

LEAST_SCORE = 0.01
"""The least score of a detection: low, since mean average precision gains from uncertain ones. Not tuned."""

CANDIDATES = 100
"""Boxes of each map that are considered. Not tuned."""

OVERLAP = 0.45
"""The most that two detections of one class may overlap, as a share of their union. Not tuned."""

LONGEST = 4.0
"""The logarithm of the largest ratio of a box's side to its anchor's; bounds untrained predictions. Not tuned."""


Anchors = Sequence[Sequence[tuple[float, float]]]
"""For each map, coarse to fine, pairs of width and height as shares of the image's."""


class Grid(NamedTuple):
    """The grid that the a predictions for an image are relative to, all float32, in pixels of the input.

    ``corners`` (a, 2) are the left and top of its cell, ``strides`` (a, 1) the cell's side and ``sides`` (a, 2) the
    anchor's. The coarse map's come first; within a map the order is that of `by_anchor`.
    """

    corners: Tensor
    strides: Tensor
    sides: Tensor


def grid_of(anchors: Anchors, height: int, width: int) -> Grid:
    """The grid for images of this size, a multiple of 32 both ways."""
    corners, strides, sides = [], [], []
    for stride, pairs in zip(STRIDES, anchors, strict=True):
        ys, xs = torch.meshgrid(torch.arange(height // stride), torch.arange(width // stride), indexing="ij")
        cells = torch.stack([xs, ys], -1).reshape(-1, 1, 2).float() * stride
        count = len(cells) * len(pairs)
        corners.append(cells.expand(-1, len(pairs), 2).reshape(count, 2))
        strides.append(torch.full((count, 1), float(stride)))
        sides.append((torch.tensor(pairs) * torch.tensor([width, height])).repeat(len(cells), 1))
    return Grid(torch.cat(corners), torch.cat(strides), torch.cat(sides))


def boxes_of(rows: Tensor, corners: Tensor, strides: Tensor, sides: Tensor, longest: float) -> Tensor:
    """The boxes (..., 4) in pixels that the first four numbers of predictions (..., c) on a grid stand for.

    The logarithm of how much larger a box is than its anchor is at most ``longest``.
    """
    centres = rows[..., :2].sigmoid() * strides + corners
    halves = 0.5 * (rows[..., 2:4].clamp(max=longest).exp() * sides)
    return torch.cat([centres - halves, centres + halves], -1)


class BestOfCells(Opaque):
    """YOLOv3's selection: a class's score is how sure the network is of an object, times how sure of the class."""

    corners: Tensor
    strides: Tensor
    sides: Tensor
    border: Tensor

    def __init__(self, anchors: Anchors, classes: int, count: int, height: int, width: int) -> None:
        super().__init__()
        grid = grid_of(anchors, height, width)
        self.register_buffer("corners", grid.corners)
        self.register_buffer("strides", grid.strides)
        self.register_buffer("sides", grid.sides)
        self.register_buffer("border", torch.tensor([width, height, width, height], dtype=torch.float32))
        self.columns, self.count, self.longest = 5 + classes, count, LONGEST
        self.least_score, self.candidates, self.overlap = LEAST_SCORE, CANDIDATES, OVERLAP

    def forward(self, maps: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Maps (n, a * (5 + classes), h, w), coarse to fine, to boxes (n, count, 4), scores (n, count) and labels
        (n, count), int64, the class and one: the highest score first, zeros after the last."""
        levels = [by_anchor(level, self.columns) for level in maps]
        rows = torch.cat(levels, 1)
        boxes = clipped(boxes_of(rows, self.corners, self.strides, self.sides, self.longest), self.border)
        # A first column that is never chosen makes the labels start from 1.
        scores = [F.pad(level[..., 4:5].sigmoid() * level[..., 5:].sigmoid(), [1, 0]) for level in levels]
        return best_by_level(scores, boxes, self.least_score, self.candidates, self.overlap, self.count)
