"""How well scores rank what is sought above the rest: areas under two curves."""

from __future__ import annotations

import torch
from torch import Tensor


def auroc(scores: Tensor, sought: Tensor) -> float:
    """The probability that an input that is sought (bool (n,)) scores higher than another one; ties count half.

    Hanley, McNeil, *The meaning and use of the area under a ROC curve*, Radiology 1982. Both kinds must occur.
    """
    ordered = scores[~sought].sort()[0]
    asked = scores[sought]
    below = torch.searchsorted(ordered, asked, right=False).double()
    up_to = torch.searchsorted(ordered, asked, right=True).double()
    return float((below + up_to).mean() / 2 / len(ordered))


def average_precision(scores: Tensor, sought: Tensor) -> float:
    """Precision averaged over recall, one step for each distinct score; something sought must occur."""
    order = scores.sort(descending=True, stable=True)[1]
    scores, hits = scores[order], sought[order].double().cumsum(0)
    last_of_its_score = torch.cat([scores[1:] != scores[:-1], torch.ones(1, dtype=torch.bool)])
    hits, seen = hits[last_of_its_score], torch.arange(1, len(scores) + 1).double()[last_of_its_score]
    gained = torch.cat([hits[:1], hits[1:] - hits[:-1]])
    return float((gained * hits / seen).sum() / sought.sum())


def worst_where_nan(scores: Tensor, sought: Tensor) -> Tensor:
    """Scores in which NaN ranks as wrongly as it can: below everything where it is sought, else above."""
    infinity = torch.full_like(scores, float("inf"))
    return torch.where(scores.isnan(), torch.where(sought, -infinity, infinity), scores)
