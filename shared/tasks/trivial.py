"""Answers that never look at the input: what a network must be better than to mean anything.

Each is made of the truths it is then judged by, with the application's own metrics.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Dict, Sequence

import torch
from torch import Tensor


class Trivial(ABC):
    """An application's answer that is the same for every input, over any number of batches."""

    @abstractmethod
    def add(self, truths: Sequence[Any]) -> None:
        """Count a batch: what it holds behind the inputs. The truths are ones that the application's meter takes."""

    @abstractmethod
    def figures(self) -> Dict[str, float]:
        """The metrics by name, as `Meter.figures` gives them. Raises `DataError` where nothing can be said."""


class Frequencies:
    """How often each class was there."""

    def __init__(self) -> None:
        self.counts = torch.zeros(0, dtype=torch.long)

    def add(self, classes: Tensor) -> None:
        """Count classes, whole numbers from 0 on, of any shape."""
        found = torch.bincount(classes.flatten(), minlength=len(self.counts)).cpu()
        found[: len(self.counts)] += self.counts
        self.counts = found

    @property
    def total(self) -> int:
        """How many were counted."""
        return int(self.counts.sum())
