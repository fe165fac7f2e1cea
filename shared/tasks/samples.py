"""Whether the labels of a bundle's samples are compatible with the accuracy that the bundle says it has."""

from __future__ import annotations

import math
from typing import Optional, Sequence

from torch import Tensor

from legodnn.shared.tasks.classification import Classification
from legodnn.shared.tasks.known import task_named

UNLIKELY = 1e-3
"""The probability of so few right answers below which labels and answers do not belong together. Not tuned: at 87 %,
of eight samples three have to be right; swapped labels of two classes leave one."""

_CERTAIN = 0.99
"""The highest accuracy that is taken at its word: all test images right does not mean that none is on the border. Not
tuned."""


def right_answers(task: str, outputs: Sequence[Tensor], labels: Sequence[int]) -> Optional[int]:
    """How many samples have the class that their label says; None without labels, or where outputs are no classes."""
    known = task_named(task)
    if not labels or not isinstance(known, Classification) or not known.reads(outputs):
        return None
    return sum(int(best) == label for best, label in zip(outputs[0].argmax(1).tolist(), labels))


def believable(task: str, metric: str, accuracy: float, right: Optional[int], count: int) -> bool:
    """Whether so many right answers of ``count`` are at least `UNLIKELY` for a network of this accuracy.

    True wherever nothing can be said: without labels, and for another metric than the share of right answers.
    """
    known = task_named(task)
    if right is None or known is None or metric != known.metric:
        return True
    share = min(_CERTAIN, max(0.0, accuracy))
    terms = (math.comb(count, k) * share**k * (1 - share) ** (count - k) for k in range(right + 1))
    return sum(terms) >= UNLIKELY
