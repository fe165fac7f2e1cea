"""`Chance`: the chance level, that is, the metrics of the best constant answer.

The constant is computed from the truths on which it is then evaluated, with the application's own metrics.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Dict, Sequence

import torch
from torch import Tensor


class Chance(ABC):
    """An application's chance level over any number of batches."""

    @abstractmethod
    def add(self, truths: Sequence[Any]) -> None:
        """Count a batch; ``truths`` are those that the application's meter takes."""

    @abstractmethod
    def figures(self) -> Dict[str, float]:
        """The metrics by name, as in `Meter.figures`. Raises `DataError` where they are undefined."""


class Frequencies:
    """Counts of each class."""

    def __init__(self) -> None:
        self.counts = torch.zeros(0, dtype=torch.long)

    def add(self, classes: Tensor) -> None:
        """Count classes, int64 from 0 on, of any shape."""
        found = torch.bincount(classes.flatten(), minlength=len(self.counts)).cpu()
        found[: len(self.counts)] += self.counts
        self.counts = found

    @property
    def total(self) -> int:
        """The sum of all counts."""
        return int(self.counts.sum())
