"""Image classification and action recognition: one score per class; truths are int64 labels (n,)."""

from __future__ import annotations

from typing import Any, Dict, Mapping, Sequence

from torch import Tensor

from legodnn.shared.errors import DataError
from legodnn.shared.tasks.chance import Chance, Frequencies
from legodnn.shared.tasks.task import Meaning, Meter, Task

TOP = 5
"""Highest scores that count for the second metric, as is usual."""

NOTHING = "nothing to judge: no inputs with labels"


class MostFrequent(Chance):
    """The chance level: classes in the order of their frequency for every input."""

    def __init__(self, metric: str, second: str) -> None:
        self._metric, self._second = metric, second
        self._labels = Frequencies()

    def add(self, truths: Sequence[Any]) -> None:
        """See `Chance.add`."""
        self._labels.add(truths[0])

    def figures(self) -> Dict[str, float]:
        """See `Chance.figures`."""
        total = self._labels.total
        if not total:
            raise DataError(NOTHING)
        counts = self._labels.counts.sort(descending=True)[0]
        return {self._metric: int(counts[0]) / total, self._second: int(counts[:TOP].sum()) / total}


class ClassificationMeter(Meter):
    """The share of inputs whose label has the highest score (of ties the first), or one of the five highest."""

    def __init__(self, metric: str, second: str) -> None:
        self._metric, self._second = metric, second
        self._first = self._among = self._total = 0

    def add(self, outputs: Sequence[Tensor], truths: Sequence[Any]) -> None:
        """See `Meter.add`; outputs are scores (n, classes)."""
        scores, labels = outputs[0], truths[0].to(outputs[0].device)
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < scores.shape[1]:
            raise DataError(f"a label is {int(labels.max())}, the network knows 0 to {scores.shape[1] - 1}")
        best = scores.sort(dim=1, descending=True, stable=True)[1][:, :TOP]
        right = best == labels.unsqueeze(1)
        self._first += int(right[:, 0].sum())
        self._among += int(right.sum())
        self._total += len(labels)

    def figures(self) -> Dict[str, float]:
        """See `Meter.figures`."""
        if not self._total:
            raise DataError(NOTHING)
        return {self._metric: self._first / self._total, self._second: self._among / self._total}


class Classification(Task):
    """Networks whose output is one score per class (n, classes)."""

    def __init__(self, name: str, metric: str, second: str) -> None:
        self.name, self.metric, self._second = name, metric, second

    def meter(self) -> ClassificationMeter:
        """See `Task.meter`."""
        return ClassificationMeter(self.metric, self._second)

    def chance(self) -> MostFrequent:
        """See `Task.chance`."""
        return MostFrequent(self.metric, self._second)

    def reads(self, outputs: Sequence[Tensor]) -> bool:
        """See `Task.reads`."""
        return len(outputs) == 1 and outputs[0].dim() == 2

    def results(self, outputs: Sequence[Tensor], meaning: Meaning) -> Dict[str, Any]:
        """``class``, ``label`` and ``probability`` of the highest score."""
        scores = outputs[0][0]
        best = int(scores.argmax())
        return {"class": best, "label": meaning.name(best), "probability": float(scores.softmax(0)[best])}

    def text(self, results: Mapping[str, Any]) -> str:
        """See `Task.text`."""
        return f"{results['label']} ({results['probability']:.1%})"


IMAGES = Classification("image classification", "top-1 accuracy", "top-5 accuracy")
ACTIONS = Classification("action recognition", "clip top-1 accuracy", "clip top-5 accuracy")
