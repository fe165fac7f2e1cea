"""Image classification and action recognition: one score per class; truths are int64 labels (n,)."""

from __future__ import annotations

import math
from typing import Any, Dict, List, Mapping, Optional, Sequence

import torch
from torch import Tensor

from legodnn.shared.errors import DataError
from legodnn.shared.tasks.chance import Chance, Frequencies
from legodnn.shared.tasks.ranking import auroc, average_precision, worst_where_nan
from legodnn.shared.tasks.task import Meaning, Meter, Part, Task, check_lengths

TOP = 5
"""Highest scores that count for the second metric, as is usual."""

TOP_CLASSES = 2 * TOP
"""The fewest classes for which that metric is reported: of fewer, guessing is right more often than not."""

CONFUSION_CLASSES = 100
"""The most classes with a confusion matrix: 10,000 numbers. Not tuned."""

BALANCED = "balanced accuracy"

NOTHING = "nothing to judge: no inputs with labels"

_SUM = 1e-5
"""How far the sum of scores that are probabilities is from 1: rounding of float32 over 1,000 classes is below 1e-6."""


def probabilities(scores: Tensor) -> Tensor:
    """The probability of each class, float64 (n, classes), of scores (n, classes).

    A row that is one of probabilities already, none negative and 1 in sum, stays what it is; any other is taken for
    logits.
    """
    exact = scores.detach().double()
    given = (exact >= 0).all(1) & ((exact.sum(1) - 1).abs() < _SUM)
    return torch.where(given.unsqueeze(1), exact, exact.softmax(1))


def above(scores: Tensor, threshold: float) -> Tensor:
    """Whether the probability of class 1 of two is above ``threshold``, in (0, 1), for scores (n, 2), as bool (n,).

    At 0.5 that is whether its score is the higher one, also where both probabilities round to the same.
    """
    exact = scores.detach().double()
    likely = probabilities(scores)
    given = (likely == exact).all(1)
    by_logits = exact[:, 1] - exact[:, 0] > math.log(threshold / (1 - threshold))
    return torch.where(given, likely[:, 1] * (1 - threshold) > likely[:, 0] * threshold, by_logits)


class MostFrequent(Chance):
    """The chance level: classes in the order of their frequency for every input.

    Of the balanced accuracy it is 1 over the number of classes that occur; of the area under the receiver operating
    characteristic 0.5, and of the average precision the share of class 1, where there are no others than 0 and 1.
    """

    def __init__(self, metric: str, second: str) -> None:
        self._metric, self._second = metric, second
        self._labels = Frequencies()

    def add(self, truths: Sequence[Any]) -> None:
        """See `Chance.add`."""
        if len(truths[0]) and int(truths[0].min()) < 0:
            raise DataError(f"a label is {int(truths[0].min())}; classes are numbered from 0")
        self._labels.add(truths[0])

    def figures(self) -> Dict[str, float]:
        """See `Chance.figures`; of all metrics that a network's answers might have."""
        total = self._labels.total
        if not total:
            raise DataError(NOTHING)
        counts = self._labels.counts.sort(descending=True)[0]
        found = {self._metric: int(counts[0]) / total, self._second: int(counts[:TOP].sum()) / total}
        found[BALANCED] = 1 / int((counts > 0).sum())
        if len(counts) == 2 and bool((counts > 0).all()):
            found.update({"AUROC": 0.5, "average precision": int(self._labels.counts[1]) / total})
        return found


class ClassificationMeter(Meter):
    """How many inputs of each class are taken for it, and for another: the class of the highest score, of ties the
    first.

    - The metric is the share of inputs that are right. The second, from `TOP_CLASSES` classes on, is the share whose
      label is among the five highest scores.
    - The balanced accuracy is the mean of the recalls of the classes that occur (Brodersen et al., *The balanced
      accuracy and its posterior distribution*, ICPR 2010).
    - For two classes, and where both occur, the areas that say how well the score of class 1 minus that of class 0
      ranks class 1 first.
    - With a ``threshold``, for two classes only, an input is taken for class 1 where its probability is `above` it.

    A row of scores without a finite maximum is no answer, and wrong.
    """

    def __init__(self, metric: str, second: str, threshold: Optional[float] = None) -> None:
        self._metric, self._second, self._threshold = metric, second, threshold
        self._classes: Optional[int] = None
        self._among = self._lost = 0
        self._there = self._found = self._right = torch.zeros(0, dtype=torch.long)
        self._confusion: Optional[Tensor] = None
        self._margins: List[Tensor] = []
        self._ones: List[Tensor] = []

    def add(self, outputs: Sequence[Tensor], truths: Sequence[Any]) -> None:
        """See `Meter.add`; outputs are scores (n, classes), at least two."""
        scores, labels = outputs[0].detach().cpu(), truths[0].cpu()
        self._check(scores, labels)
        best = scores.sort(dim=1, descending=True, stable=True)[1][:, :TOP]
        answered = scores.max(1)[0].isfinite()
        taken = best[:, 0] if self._threshold is None else above(scores, self._threshold).long()
        self._among += int(((best == labels.unsqueeze(1)).any(1) & answered).sum())
        self._lost += int((~answered).sum())
        self._count(labels, taken, answered)
        if scores.shape[1] == 2:
            self._margins.append(scores[:, 1].double() - scores[:, 0].double())
            self._ones.append(labels == 1)

    def _check(self, scores: Tensor, labels: Tensor) -> None:
        classes = scores.shape[1]
        check_lengths(len(scores), len(labels))
        if classes < 2:
            raise DataError(
                "the network gives one score per input, a classification needs one for each class; for one score that "
                "says how unusual an input is there is anomaly detection"
            )
        if self._threshold is not None and classes != 2:
            raise DataError(f"a threshold is for two classes, the network has {classes}")
        if self._classes not in (None, classes):
            raise DataError(f"{classes} scores per input, after {self._classes} before")
        wrong = labels[(labels < 0) | (labels >= classes)]
        if len(wrong):
            raise DataError(f"a label is {int(wrong[0])}, the network knows 0 to {classes - 1}")
        self._classes = classes

    def _count(self, labels: Tensor, taken: Tensor, answered: Tensor) -> None:
        """Add a batch to the counts of each class: in the truths, in the answers, in both."""
        classes = self._classes or 0
        if not len(self._there):
            self._there, self._found, self._right = (torch.zeros(classes, dtype=torch.long) for _ in range(3))
            if classes <= CONFUSION_CLASSES:
                self._confusion = torch.zeros(classes, classes, dtype=torch.long)
        self._there += torch.bincount(labels, minlength=classes)
        labels, taken = labels[answered], taken[answered]
        self._found += torch.bincount(taken, minlength=classes)
        self._right += torch.bincount(labels[labels == taken], minlength=classes)
        if self._confusion is not None:
            pairs = torch.bincount(labels * classes + taken, minlength=classes * classes)
            self._confusion += pairs.view(classes, classes)

    def figures(self) -> Dict[str, float]:
        """See `Meter.figures`."""
        total = int(self._there.sum())
        if not total:
            raise DataError(NOTHING)
        found = {self._metric: int(self._right.sum()) / total}
        if len(self._there) >= TOP_CLASSES:
            found[self._second] = self._among / total
        occurs = self._there > 0
        found[BALANCED] = float((self._right[occurs].double() / self._there[occurs]).mean())
        if len(self._there) == 2 and bool(occurs.all()):
            ones = torch.cat(self._ones)
            margins = worst_where_nan(torch.cat(self._margins), ones)
            found.update({"AUROC": auroc(margins, ones), "average precision": average_precision(margins, ones)})
        return found

    def parts(self) -> Sequence[Part]:
        """See `Meter.parts`: recall and precision of each class."""
        rows = zip(self._there.tolist(), self._found.tolist(), self._right.tolist())
        return [
            Part(i, there, {"recall": right / there if there else None, "precision": right / found if found else None})
            for i, (there, found, right) in enumerate(rows)
        ]

    def confusion(self) -> Optional[Sequence[Sequence[int]]]:
        """See `Meter.confusion`; for `CONFUSION_CLASSES` classes at most, without what got no answer."""
        if self._confusion is None:
            return None
        rows: List[List[int]] = self._confusion.tolist()
        return rows

    @property
    def lost(self) -> int:
        """See `Meter.lost`: inputs."""
        return self._lost


class Classification(Task):
    """Networks whose output is one score per class (n, classes)."""

    share = True

    def __init__(self, name: str, metric: str, second: str) -> None:
        self.name, self.metric, self._second = name, metric, second

    def meter(self, threshold: Optional[float] = None) -> ClassificationMeter:
        """See `Task.meter`; with a threshold of the probability of class 1, for two classes."""
        return ClassificationMeter(self.metric, self._second, threshold)

    def chance(self) -> MostFrequent:
        """See `Task.chance`."""
        return MostFrequent(self.metric, self._second)

    def reads(self, outputs: Sequence[Tensor]) -> bool:
        """See `Task.reads`."""
        return len(outputs) == 1 and outputs[0].dim() == 2

    def results(self, outputs: Sequence[Tensor], meaning: Meaning) -> Dict[str, Any]:
        """``class``, ``label`` and ``probability`` of the highest score."""
        scores, likely = outputs[0][0], probabilities(outputs[0])[0]
        best = int(scores.argmax())
        return {"class": best, "label": meaning.name(best), "probability": float(likely[best])}

    def text(self, results: Mapping[str, Any]) -> str:
        """See `Task.text`."""
        return f"{results['label']} ({results['probability']:.1%})"


IMAGES = Classification("image classification", "top-1 accuracy", "top-5 accuracy")
ACTIONS = Classification("action recognition", "clip top-1 accuracy", "clip top-5 accuracy")
