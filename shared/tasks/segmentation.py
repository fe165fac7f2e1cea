"""Semantic segmentation: a score per class at every pixel; truths are int64 masks (n, h, w)."""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional, Sequence

import torch
from torch import Tensor

from legodnn.shared.errors import DataError
from legodnn.shared.tasks.chance import Chance, Frequencies
from legodnn.shared.tasks.task import Meaning, Meter, Task

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
        confusion = torch.zeros(len(counts), len(counts), dtype=torch.long)
        if len(counts):
            confusion[:, counts.argmax()] = counts
        return _figures(confusion)


class SegmentationMeter(Meter):
    """Mean intersection over union of all classes in truths or outputs, and the share of right pixels."""

    def __init__(self) -> None:
        self._confusion: Optional[Tensor] = None

    def add(self, outputs: Sequence[Tensor], truths: Sequence[Any]) -> None:
        """See `Meter.add`; outputs are scores (n, classes, h, w)."""
        scores, masks = outputs[0], truths[0].to(outputs[0].device)
        classes = scores.shape[1]
        if scores.shape[2:] != masks.shape[1:]:
            wanted, given = tuple(masks.shape[1:]), tuple(scores.shape[2:])
            raise DataError(f"masks of {wanted} pixels, the network's answer has {given}")
        said = masks != IGNORED
        truth, found = masks[said], scores.argmax(1)[said]
        if truth.numel() and not 0 <= int(truth.min()) <= int(truth.max()) < classes:
            raise DataError(f"a mask holds class {int(truth.max())}, the network knows 0 to {classes - 1}")
        counts = torch.bincount(truth * classes + found, minlength=classes * classes).view(classes, classes).cpu()
        self._confusion = counts if self._confusion is None else self._confusion + counts

    def figures(self) -> Dict[str, float]:
        """See `Meter.figures`."""
        return _figures(self._confusion if self._confusion is not None else torch.zeros(0, 0, dtype=torch.long))


def _figures(confusion: Tensor) -> Dict[str, float]:
    """The metrics of pixels counted by class, int64 (true, found)."""
    if not int(confusion.sum()):
        raise DataError("nothing to judge: no pixels with labels")
    right = confusion.diagonal().double()
    union = confusion.sum(0) + confusion.sum(1) - right
    there = union > 0
    iou = float((right[there] / union[there]).mean())
    return {"mean IoU": iou, "pixel accuracy": float(right.sum() / confusion.sum())}


class Segmentation(Task):
    """Networks whose output is a score per class and pixel (n, classes, h, w)."""

    name, metric = "semantic segmentation", "mean IoU"

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
