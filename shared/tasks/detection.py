"""Object detection: boxes, their scores and labels.

Outputs are boxes (n, d, 4) in pixels of the input (left, top, right, bottom), scores (n, d) and labels (n, d), int64;
label 0 is padding after the last detection. Truths are one list of n `Boxes`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Sequence, Tuple

import torch
from torch import Tensor

from legodnn.shared.errors import DataError
from legodnn.shared.tasks.average_precision import AveragePrecision
from legodnn.shared.tasks.chance import Chance
from legodnn.shared.tasks.task import Meaning, Meter, Part, Task, check_lengths

SHOWN = 0.5
"""The least score of an object in texts and pictures; not tuned."""


@dataclass(frozen=True)
class Boxes:
    """The objects in an image: boxes (k, 4), float32, in pixels; labels (k,), int64, from 1 on.

    ``crowd`` (k,), bool, marks boxes of any number of objects: detections in them count neither for nor against.
    """

    boxes: Tensor
    labels: Tensor
    crowd: Tensor

    @staticmethod
    def of(boxes: Tensor, labels: Tensor) -> "Boxes":
        """Objects without crowds among them."""
        return Boxes(boxes, labels, torch.zeros(len(labels), dtype=torch.bool))


class MeanBox(Chance):
    """The chance level: in every image one object of the most frequent class, at the mean box of that class."""

    def __init__(self) -> None:
        self._truths: List[Boxes] = []

    def add(self, truths: Sequence[Any]) -> None:
        """See `Chance.add`."""
        self._truths += truths[0]

    def figures(self) -> Dict[str, float]:
        """See `Chance.figures`."""
        boxes = torch.cat([torch.zeros(0, 4), *(truth.boxes[~truth.crowd] for truth in self._truths)])
        labels = torch.cat([torch.zeros(0, dtype=torch.long), *(truth.labels[~truth.crowd] for truth in self._truths)])
        precision = AveragePrecision()
        if len(labels):
            label = torch.bincount(labels).argmax().view(1)
            box, score = boxes[labels == label].mean(0, keepdim=True), torch.ones(1)
            for truth in self._truths:
                precision.add(box, score, label, truth.boxes, truth.labels, truth.crowd)
        return _figures(precision)


class DetectionMeter(Meter):
    """Mean average precision at an overlap of 0.5, and averaged over overlaps from 0.5 to 0.95.

    A detection whose box is not finite overlaps nothing; one whose score is not is wrong as well, and the first of all.
    """

    def __init__(self) -> None:
        self._lost = 0
        self._precision = AveragePrecision()

    def add(self, outputs: Sequence[Tensor], truths: Sequence[Any]) -> None:
        """See `Meter.add`."""
        boxes, scores, labels = (output.detach().cpu() for output in outputs[:3])
        check_lengths(len(boxes), len(truths[0]))
        broken = ~(boxes.isfinite().all(2) & scores.isfinite())
        self._lost += int((broken & (labels > 0)).sum())
        boxes = torch.where(broken.unsqueeze(2), torch.zeros_like(boxes), boxes)
        scores = torch.where(scores.isfinite(), scores, torch.full_like(scores, float("inf")))
        for i, truth in enumerate(truths[0]):
            there = labels[i] > 0
            self._precision.add(
                boxes[i][there], scores[i][there], labels[i][there], truth.boxes, truth.labels, truth.crowd
            )

    def figures(self) -> Dict[str, float]:
        """See `Meter.figures`."""
        return _figures(self._precision)

    def parts(self) -> Sequence[Part]:
        """See `Meter.parts`: average precision of each class."""
        return [
            Part(label, objects, dict(zip(_PRECISIONS, (None, None) if row is None else _of_overlaps(row))))
            for label, objects, row in self._precision.classes()
        ]

    @property
    def lost(self) -> int:
        """See `Meter.lost`: detections."""
        return self._lost


_PRECISIONS = ("AP@.5", "AP@[.5:.95]")


def _of_overlaps(precision: Tensor) -> Tuple[float, float]:
    """Of average precisions (overlaps,) that at the first overlap, and the mean."""
    return float(precision[0]), float(precision.mean())


def _figures(precision: AveragePrecision) -> Dict[str, float]:
    by_overlap = precision.mean()
    if by_overlap is None:
        raise DataError("nothing to judge: no objects in any image")
    return {f"m{name}": value for name, value in zip(_PRECISIONS, _of_overlaps(by_overlap))}


class Detection(Task):
    """Networks that find objects."""

    name, metric, counted = "object detection", "mAP@.5", "objects"

    def meter(self) -> DetectionMeter:
        """See `Task.meter`."""
        return DetectionMeter()

    def chance(self) -> MeanBox:
        """See `Task.chance`."""
        return MeanBox()

    def reads(self, outputs: Sequence[Tensor]) -> bool:
        """See `Task.reads`."""
        return [output.dim() for output in outputs[:3]] == [3, 2, 2] and outputs[0].shape[2] == 4

    def results(self, outputs: Sequence[Tensor], meaning: Meaning) -> Dict[str, Any]:
        """``objects``: a label, a score and a box for each, the highest score first."""
        rows = zip(outputs[0][0].tolist(), outputs[1][0].tolist(), outputs[2][0].tolist())
        return {
            "objects": [
                {"class": label, "label": meaning.name(label), "score": score, "box": box}
                for box, score, label in rows
                if label > 0
            ]
        }

    def text(self, results: Mapping[str, Any]) -> str:
        """See `Task.text`."""
        shown: List[str] = []
        for row in results["objects"]:
            if row["score"] >= SHOWN:
                left, top, right, bottom = row["box"]
                place = f"{right - left:.0f}x{bottom - top:.0f} at {left:.0f},{top:.0f}"
                shown.append(f"{row['label']} {row['score']:.0%} {place}")
        return "; ".join(shown) or "nothing found"
