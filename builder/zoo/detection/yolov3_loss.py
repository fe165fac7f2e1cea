"""YOLOv3's loss, on its raw maps.

Redmon, Farhadi, *YOLOv3: an incremental improvement*, arXiv:1804.02767, 2018. An object is assigned to one prediction,
that of the anchor with the largest overlap in the cell its centre lies in. Other predictions that overlap an object
well have no objectness loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import box_iou

from legodnn.builder.detectors.boxes import by_anchor
from legodnn.builder.zoo.detection.yolov3_boxes import LONGEST, Grid, boxes_of
from legodnn.shared.tasks.detection import Boxes

IGNORED = 0.5
"""The overlap with an object above which a prediction without one has no objectness loss; the paper's."""


class Assigned(NamedTuple):
    """The k objects of a batch: the images and predictions they belong to, both int64 (k,), their boxes (k, 4) in
    pixels and their classes, int64 (k,), from 0 on."""

    image: Tensor
    prediction: Tensor
    boxes: Tensor
    classes: Tensor


def assigned(objects: Sequence[Boxes], grid: Grid) -> Assigned:
    """The prediction that each object is assigned to."""
    image = torch.cat([torch.full_like(found.labels, i) for i, found in enumerate(objects)])
    boxes = torch.cat([found.boxes for found in objects])
    centres, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    border = (grid.corners + grid.strides).amax(0)
    centres = torch.minimum(centres.clamp(min=0), border - 0.5)  # of a box that reaches far out of the image, too
    common = torch.minimum(sides.unsqueeze(1), grid.sides).prod(2)
    likeness = common / (sides.prod(1, keepdim=True) + grid.sides.prod(1) - common)
    away = centres.unsqueeze(1) - grid.corners
    here = ((away >= 0) & (away < grid.strides)).all(2)
    prediction = likeness.masked_fill(~here, -1.0).argmax(1)
    return Assigned(image, prediction, boxes, torch.cat([found.labels for found in objects]) - 1)


def yolo_loss(maps: Sequence[Tensor], objects: Sequence[Boxes], grid: Grid, classes: int) -> Tensor:
    """The loss of raw maps (n, a * (5 + classes), h, w), coarse to fine, per object of the batch.

    ``objects`` are those of the n images; they and ``grid`` are where the maps are.
    """
    rows = torch.cat([by_anchor(level, 5 + classes) for level in maps], 1)
    theirs = assigned(objects, grid)
    mine = rows[theirs.image, theirs.prediction]
    loss = _doubt(rows, objects, theirs, grid) + _misplacement(mine, theirs, grid)
    kinds = F.one_hot(theirs.classes, classes).to(rows.dtype)
    loss = loss + F.binary_cross_entropy_with_logits(mine[:, 5:], kinds, reduction="sum")
    return loss / max(1, len(theirs.image))


def _doubt(rows: Tensor, objects: Sequence[Boxes], theirs: Assigned, grid: Grid) -> Tensor:
    """The objectness loss of all predictions, summed."""
    wanted, counts = torch.zeros_like(rows[..., 4]), torch.ones_like(rows[..., 4])
    for i, found in enumerate(objects):
        if len(found.boxes):
            overlap = box_iou(boxes_of(rows[i].detach(), *grid, LONGEST), found.boxes)
            counts[i] = (overlap.amax(1) <= IGNORED).to(counts.dtype)
    wanted[theirs.image, theirs.prediction] = 1.0
    counts[theirs.image, theirs.prediction] = 1.0
    return F.binary_cross_entropy_with_logits(rows[..., 4], wanted, counts, reduction="sum")


def _misplacement(mine: Tensor, theirs: Assigned, grid: Grid) -> Tensor:
    """The box loss of ``mine`` (k, 5 + classes), summed; small boxes have more weight."""
    corners, strides, sides = (part[theirs.prediction] for part in grid)
    extent = theirs.boxes[:, 2:] - theirs.boxes[:, :2]
    within = ((theirs.boxes[:, :2] + theirs.boxes[:, 2:]) / 2 - corners) / strides
    log_ratio = (extent / sides).log()
    image = (grid.corners + grid.strides).amax(0).prod()
    weight = (2 - extent.prod(1) / image).unsqueeze(1)
    place = F.binary_cross_entropy_with_logits(mine[:, :2], within.clamp(0, 1), weight, reduction="sum")
    return place + 0.5 * (weight * (mine[:, 2:4] - log_ratio).square()).sum()
