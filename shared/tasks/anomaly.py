"""Anomaly detection: one score per input, higher for abnormal ones; truths are int64 (n,), 1 for abnormal."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Sequence

import torch
from torch import Tensor

from legodnn.shared.errors import DataError
from legodnn.shared.tasks.chance import Chance
from legodnn.shared.tasks.ranking import auroc, average_precision, worst_where_nan
from legodnn.shared.tasks.task import Meaning, Meter, Task, check_lengths


class OneScore(Chance):
    """The same score for every input."""

    def __init__(self) -> None:
        self._truths: List[Tensor] = []

    def add(self, truths: Sequence[Any]) -> None:
        """See `Chance.add`."""
        self._truths.append(truths[0].flatten().cpu() != 0)

    def figures(self) -> Dict[str, float]:
        """See `Chance.figures`."""
        return _figures([torch.zeros(len(part), dtype=torch.float64) for part in self._truths], self._truths)


class AnomalyMeter(Meter):
    """Areas under the receiver operating characteristic and under the curve of precision over recall.

    A score that is NaN ranks its input as wrongly as possible.
    """

    def __init__(self) -> None:
        self._lost = 0
        self._scores: List[Tensor] = []
        self._truths: List[Tensor] = []

    def add(self, outputs: Sequence[Tensor], truths: Sequence[Any]) -> None:
        """See `Meter.add`; outputs are scores (n, 1)."""
        scores, abnormal = outputs[0].detach().double().flatten().cpu(), truths[0].flatten().cpu() != 0
        check_lengths(len(scores), len(abnormal))
        self._lost += int(scores.isnan().sum())
        self._scores.append(scores)
        self._truths.append(abnormal)

    def figures(self) -> Dict[str, float]:
        """See `Meter.figures`."""
        return _figures(self._scores, self._truths)

    @property
    def lost(self) -> int:
        """See `Meter.lost`: scores."""
        return self._lost


def _figures(scores_of: Sequence[Tensor], truths: Sequence[Tensor]) -> Dict[str, float]:
    """The metrics of batches of scores, float64 (n,), for inputs that are abnormal or not, bool (n,)."""
    if not sum(map(len, truths)):
        raise DataError("nothing to judge: no inputs")
    scores, abnormal = torch.cat(list(scores_of)), torch.cat(list(truths))
    if bool(abnormal.all()) or not bool(abnormal.any()):
        kind = "abnormal" if bool(abnormal.all()) else "normal"
        raise DataError(f"all {len(abnormal)} inputs are {kind}: without the other kind nothing can be judged")
    scores = worst_where_nan(scores, abnormal)
    return {"AUROC": auroc(scores, abnormal), "AUPR": average_precision(scores, abnormal)}


class Anomaly(Task):
    """Networks whose output is a score per input (n, 1)."""

    name, metric = "anomaly detection", "AUROC"

    def meter(self) -> AnomalyMeter:
        """See `Task.meter`."""
        return AnomalyMeter()

    def chance(self) -> OneScore:
        """See `Task.chance`."""
        return OneScore()

    def reads(self, outputs: Sequence[Tensor]) -> bool:
        """See `Task.reads`."""
        return len(outputs) == 1 and outputs[0].numel() == outputs[0].shape[0]

    def results(self, outputs: Sequence[Tensor], meaning: Meaning) -> Dict[str, Any]:
        """The ``score``; with a ``threshold`` in the bundle also that, and whether the input is ``abnormal``."""
        score = float(outputs[0].flatten()[0])
        if meaning.threshold is None:
            return {"score": score}
        return {"score": score, "threshold": meaning.threshold, "abnormal": score > meaning.threshold}

    def text(self, results: Mapping[str, Any]) -> str:
        """See `Task.text`."""
        if "abnormal" not in results:
            return f"score {results['score']:.4g}"
        kind = "abnormal" if results["abnormal"] else "normal"
        return f"{kind} (score {results['score']:.4g}, abnormal above {results['threshold']:.4g})"
