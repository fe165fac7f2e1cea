"""Semantic segmentation: a score per class at every pixel; truths are int64 masks (n, h, w)."""

from __future__ import annotations

import math
from typing import Any, Dict, Mapping, Optional, Sequence

import torch
from torch import Tensor

from legodnn.shared.errors import DataError
from legodnn.shared.tasks.chance import Chance, Frequencies
from legodnn.shared.tasks.task import Meaning, Meter, Part, Task, check_lengths

IGNORED = 255
"""The label of unlabelled pixels, as in VOC."""

LEAST_SHARE = 0.005
"""The least share of the image of a class in results; not tuned."""


class MostFrequentEverywhere(Chance):
    """The chance level: the most frequent class at every pixel."""

    def __init__(self) -> None:
        self._pixels = Frequencies()

    def add(self, truths: Sequence[Any]) -> None:
        """See `Chance.add`."""
        self._pixels.add(truths[0][truths[0] != IGNORED])

    def figures(self) -> Dict[str, float]:
        """See `Chance.figures`."""
        counts = self._pixels.counts
        confusion = torch.zeros(len(counts), len(counts) + 1, dtype=torch.long)
        if len(counts):
            confusion[:, counts.argmax()] = counts
        return _figures(confusion)


class SegmentationMeter(Meter):
    """Mean intersection over union of all classes in truths or outputs, and the share of right pixels.

    A pixel whose highest score is not finite has no class, and is wrong.
    """

    def __init__(self) -> None:
        self._confusion: Optional[Tensor] = None

    def add(self, outputs: Sequence[Tensor], truths: Sequence[Any]) -> None:
        """See `Meter.add`; outputs are scores (n, classes, h, w)."""
        scores, masks = outputs[0], truths[0].to(outputs[0].device)
        classes = scores.shape[1]
        check_lengths(len(scores), len(masks))
        if scores.shape[2:] != masks.shape[1:]:
            wanted, given = tuple(masks.shape[1:]), tuple(scores.shape[2:])
            raise DataError(f"masks of {wanted} pixels, the network's answer has {given}")
        said = masks != IGNORED
        highest, found = scores.max(1)
        truth, found = masks[said], torch.where(highest.isfinite(), found, torch.full_like(found, classes))[said]
        wrong = truth[(truth < 0) | (truth >= classes)]
        if len(wrong):
            raise DataError(f"a mask holds class {int(wrong[0])}, the network knows 0 to {classes - 1}")
        columns = classes + 1  # the last one for no class
        counts = torch.bincount(truth * columns + found, minlength=classes * columns).view(classes, columns).cpu()
        if self._confusion is not None and self._confusion.shape != counts.shape:
            raise DataError(f"{classes} scores per pixel, after {len(self._confusion)} before")
        self._confusion = counts if self._confusion is None else self._confusion + counts

    def figures(self) -> Dict[str, float]:
        """See `Meter.figures`."""
        return _figures(self._confusion if self._confusion is not None else torch.zeros(0, 1, dtype=torch.long))

    def parts(self) -> Sequence[Part]:
        """See `Meter.parts`: intersection over union of each class, None for one that is neither there nor found."""
        if self._confusion is None:
            return []
        shares, counts = _overlaps(self._confusion).tolist(), self._confusion.sum(1).tolist()
        return [
            Part(i, count, {"IoU": None if math.isnan(share) else share})
            for i, (count, share) in enumerate(zip(counts, shares))
        ]

    @property
    def lost(self) -> int:
        """See `Meter.lost`: pixels."""
        return int(self._confusion[:, -1].sum()) if self._confusion is not None else 0


def _overlaps(confusion: Tensor) -> Tensor:
    """Intersection over union of each class, float64; NaN for one that is neither there nor found."""
    right = confusion.diagonal().double()
    return right / (confusion.sum(0)[: len(right)] + confusion.sum(1) - right)


def _figures(confusion: Tensor) -> Dict[str, float]:
    """The metrics of pixels counted by class, int64 (true, found); behind the classes a column for none."""
    if not int(confusion.sum()):
        raise DataError("nothing to judge: no pixels with labels")
    shares = _overlaps(confusion)
    mean, right = shares[~shares.isnan()].mean(), confusion.diagonal().sum()
    return {"mean IoU": float(mean), "pixel accuracy": float(right.double() / confusion.sum())}


class Segmentation(Task):
    """Networks whose output is a score per class and pixel (n, classes, h, w)."""

    name, metric, counted = "semantic segmentation", "mean IoU", "pixels"

    def meter(self) -> SegmentationMeter:
        """See `Task.meter`."""
        return SegmentationMeter()

    def chance(self) -> MostFrequentEverywhere:
        """See `Task.chance`."""
        return MostFrequentEverywhere()

    def reads(self, outputs: Sequence[Tensor]) -> bool:
        """See `Task.reads`."""
        return outputs[0].dim() == 4

    def results(self, outputs: Sequence[Tensor], meaning: Meaning) -> Dict[str, Any]:
        """``classes``: those found, each with its share of the image, the largest first."""
        found = outputs[0][0].argmax(0)
        shares = torch.bincount(found.flatten(), minlength=outputs[0].shape[1]).double() / found.numel()
        order = shares.sort(descending=True, stable=True)[1].tolist()
        rows = [{"class": i, "label": meaning.name(i), "share": float(shares[i])} for i in order]
        return {"classes": [row for row in rows if row["share"] >= LEAST_SHARE]}

    def text(self, results: Mapping[str, Any]) -> str:
        """See `Task.text`."""
        return ", ".join(f"{row['label']} {row['share']:.0%}" for row in results["classes"])
