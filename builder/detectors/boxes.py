"""Boxes in plain torch operators: decoding, clipping and greedy non-maximum suppression.

Boxes are float32 (..., 4): left, top, right and bottom in pixels of the network's input. ``torch.jit.script`` compiles
these functions into the modules that call them. The order of the arithmetic is that of torchvision on a CPU, so that
roundings, and with them the boxes at a threshold, are the same.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def by_anchor(maps: Tensor, columns: int) -> Tensor:
    """A head's map (n, a * columns, h, w) as rows (n, h * w * a, columns), in the order of the anchors."""
    n, channels, h, w = maps.shape
    return maps.reshape(n, channels // columns, columns, h * w).permute(0, 3, 1, 2).reshape(n, -1, columns)


def decoded(offsets: Tensor, anchors: Tensor, weights: Tensor, longest: float) -> Tensor:
    """The boxes that ``offsets`` (..., 4) make of ``anchors``, shapes broadcast.

    Offsets are shifts of the centre in units of the anchor's sides, and logarithms of the ratio of the sides, at most
    ``longest``, each times its one of the four ``weights`` (Girshick et al., *Rich feature hierarchies*, CVPR 2014).
    """
    offsets = offsets / weights
    sides = anchors[..., 2:] - anchors[..., :2]
    centres = offsets[..., :2] * sides + (anchors[..., :2] + 0.5 * sides)
    halves = 0.5 * (torch.exp(offsets[..., 2:].clamp(max=longest)) * sides)
    return torch.cat([centres - halves, centres + halves], -1)


def clipped(boxes: Tensor, border: Tensor) -> Tensor:
    """The part of each box inside the image; ``border`` (4,) is its width, height, width, height in pixels."""
    return torch.minimum(boxes.clamp(min=0.0), border)


def reaching(boxes: Tensor, side: float) -> Tensor:
    """Which boxes (k, 4) are at least ``side`` pixels wide and high, bool (k,)."""
    return (boxes[:, 2:] - boxes[:, :2] >= side).all(1)


def clashing(boxes: Tensor, groups: Tensor, rows: Tensor, columns: Tensor, threshold: float) -> Tensor:
    """Which of ``boxes`` are of one group and overlap by more than ``threshold`` of their union.

    Bool (len(rows), len(columns)) for the boxes with these indices.
    """
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    first, second = boxes[rows].unsqueeze(1), boxes[columns].unsqueeze(0)
    common = (torch.minimum(first[..., 2:], second[..., 2:]) - torch.maximum(first[..., :2], second[..., :2])).clamp(
        min=0.0
    )
    shared = common[..., 0] * common[..., 1]
    union = areas[rows].unsqueeze(1) + areas[columns].unsqueeze(0) - shared
    # In double precision: a threshold of 0.45 in single precision is another number.
    overlapping = (shared / union).double() > threshold
    return overlapping & (groups[rows].unsqueeze(1) == groups[columns].unsqueeze(0))


def kept(boxes: Tensor, scores: Tensor, groups: Tensor, threshold: float, limit: int) -> Tensor:
    """Greedy non-maximum suppression within each group: the indices, int64, of the ``limit`` best boxes kept.

    From the highest score down (of equals the first), a box (of ``boxes`` (k, 4)) is kept unless it clashes with one
    that is. Boxes are processed in blocks: starting from all kept, the rule is applied to the whole block until nothing
    changes, which gives the greedy result, as each box only depends on better ones.
    """
    if 0 < boxes.numel() <= 4000:
        # torchvision shifts groups apart up to this size, which changes the rounding of coordinates.
        boxes = boxes + (groups.to(boxes.dtype) * (boxes.max() + 1)).unsqueeze(1)
    rest = torch.sort(scores, stable=True, dim=0, descending=True)[1]
    # Twice the limit: the first block is often enough. The memory of all pairs of boxes is bounded. Not tuned.
    block = max(64, min(512, min(2 * limit, 4194304 // max(1, len(rest)))))
    chosen = [rest[:0]]
    count = 0
    while len(rest) > 0 and count < limit:
        head, rest = rest[:block], rest[block:]
        beats = clashing(boxes, groups, head, head, threshold).triu(1)
        stays = torch.ones_like(head, dtype=torch.bool)
        changed = True
        while changed:
            now = torch.logical_not((beats & stays.unsqueeze(1)).any(0))
            changed = bool((now != stays).any())
            stays = now
        head = head[stays]
        rest = rest[torch.logical_not(clashing(boxes, groups, head, rest, threshold).any(0))]
        chosen.append(head)
        count += len(head)
    return torch.cat(chosen)[:limit]


def padded(rows: Tensor, count: int) -> Tensor:
    """``rows`` (k,) or (k, c) followed by zeros up to ``count`` of them."""
    return F.pad(rows.t(), [0, count - len(rows)]).t()


def detections(
    boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float, count: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The ``count`` best boxes of one image after suppression within each label, their scores and labels.

    (count, 4), (count,) and (count,): the highest score first, zeros after the last.
    """
    best = kept(boxes, scores, labels, threshold, count)
    return padded(boxes[best], count), padded(scores[best], count), padded(labels[best], count)


def stacked(found: list[tuple[Tensor, Tensor, Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
    """The detections of several images along a new first axis."""
    boxes = torch.stack([image[0] for image in found])
    scores = torch.stack([image[1] for image in found])
    return boxes, scores, torch.stack([image[2] for image in found])
