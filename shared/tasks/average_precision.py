"""Mean average precision of detections, as the COCO evaluation defines it.

Lin et al., *Microsoft COCO: common objects in context*, ECCV 2014. Per class, detections of all images are taken from
the highest score down; each is right if it overlaps an unmatched object enough. Precision, made non-increasing, is
averaged over 101 steps of recall; at most 100 detections of a class count in an image.
"""

from __future__ import annotations

from typing import Dict, List, Optional, Tuple

import torch
from torch import Tensor

OVERLAPS = tuple(0.5 + 0.05 * i for i in range(10))
MOST = 100
STEPS = 101
"""Overlaps, detections per class and image, and steps of recall, as COCO defines them."""


def overlaps(found: Tensor, there: Tensor, crowd: Tensor) -> Tensor:
    """Intersection over union of boxes (d, 4) and (g, 4) as float64 (d, g); over the found box alone for a crowd."""
    found, there = found.double().unsqueeze(1), there.double().unsqueeze(0)
    common = torch.minimum(found[..., 2:], there[..., 2:]) - torch.maximum(found[..., :2], there[..., :2])
    shared = common.clamp(min=0).prod(2)
    mine = (found[..., 2:] - found[..., :2]).clamp(min=0).prod(2)
    theirs = (there[..., 2:] - there[..., :2]).prod(2)
    union = torch.where(crowd.unsqueeze(0), mine.expand_as(shared), mine + theirs - shared)
    return shared / union.clamp(min=1e-12)


class AveragePrecision:
    """Collects detections and objects image by image."""

    def __init__(self) -> None:
        self._matched: Dict[int, List[Tuple[Tensor, Tensor, Tensor]]] = {}
        self._objects: Dict[int, int] = {}

    def add(
        self, boxes: Tensor, scores: Tensor, labels: Tensor, there: Tensor, there_labels: Tensor, crowd: Tensor
    ) -> None:
        """One image: detections (d, 4), (d,), (d,), and objects (g, 4), (g,), with (g,) bool for crowds."""
        for label in sorted({*labels.tolist(), *there_labels.tolist()}):
            mine, theirs = labels == label, there_labels == label
            order = scores[mine].sort(descending=True, stable=True)[1][:MOST]
            strength = scores[mine][order]
            right, counts = _claims(overlaps(boxes[mine][order], there[theirs], crowd[theirs]), crowd[theirs])
            self._matched.setdefault(label, []).append((strength, right, counts))
            self._objects[label] = self._objects.get(label, 0) + int((theirs & ~crowd).sum())

    def mean(self) -> Optional[Tensor]:
        """Mean average precision over classes, float64 (overlaps,); None where no class has an object."""
        rows = [precision for _, _, precision in self.classes() if precision is not None]
        return torch.stack(rows).mean(0) if rows else None

    def classes(self) -> List[Tuple[int, int, Optional[Tensor]]]:
        """Each class that was found or is there: its label, its objects, its average precision, float64 (overlaps,);
        None for a class without an object."""
        return [(label, n, self._of_class(label) if n else None) for label, n in sorted(self._objects.items())]

    def _of_class(self, label: int) -> Tensor:
        parts = self._matched[label]
        scores = torch.cat([p[0] for p in parts])
        order = scores.sort(descending=True, stable=True)[1]
        right = torch.cat([p[1] for p in parts], 1)[:, order]
        counts = torch.cat([p[2] for p in parts], 1)[:, order]
        return torch.stack([_average(r[c], self._objects[label]) for r, c in zip(right, counts)])


def _claims(overlap: Tensor, crowd: Tensor) -> Tuple[Tensor, Tensor]:
    """Which detections are right, and which count: both bool (overlaps, d)."""
    limits = torch.tensor(OVERLAPS, dtype=torch.float64).clamp(max=1 - 1e-10).unsqueeze(1)
    right = torch.zeros(len(OVERLAPS), overlap.shape[0], dtype=torch.bool)
    counts = torch.ones_like(right)
    if overlap.shape[1] == 0:
        return right, counts
    free = (~crowd).unsqueeze(0).repeat(len(OVERLAPS), 1)
    for d, row in enumerate(overlap):
        # Of equal overlaps the last object is taken, as in the reference implementation.
        candidates = torch.where(free, row.unsqueeze(0), torch.full((1, 1), -1.0, dtype=torch.float64)).flip(1)
        best, place = candidates.max(1)
        hit = best >= limits.squeeze(1)
        place = overlap.shape[1] - 1 - place
        right[:, d] = hit
        free[hit, place[hit]] = False
        in_crowd = ((row >= limits) & crowd).any(1)
        counts[:, d] = hit | ~in_crowd
    return right, counts


def _average(right: Tensor, objects: int) -> Tensor:
    """Average precision of one class at one overlap; ``right`` (d,), bool, from the highest score down."""
    hits = right.double().cumsum(0)
    recall = hits / objects
    precision = hits / torch.arange(1, len(right) + 1, dtype=torch.float64)
    precision = precision.flip(0).cummax(0)[0].flip(0) if len(right) else precision
    steps = torch.arange(STEPS, dtype=torch.float64) * (1 / (STEPS - 1))
    place = torch.searchsorted(recall, steps)
    reached = place < len(right)
    return torch.where(reached, torch.cat([precision, precision.new_zeros(1)])[place], steps.new_zeros(1)).mean()
