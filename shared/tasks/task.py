"""What every application has: a way to read outputs, and a metric."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Dict, Mapping, Optional, Sequence, Tuple

from torch import Tensor

from legodnn.shared.bundle.manifest import Manifest
from legodnn.shared.tasks.trivial import Trivial


@dataclass(frozen=True)
class Meaning:
    """What a bundle says about its network's answers.

    ``labels`` are the names of classes or keypoints, ``skeleton`` the pairs of keypoints that are joined, ``threshold``
    the score above which an image is abnormal; empty or None where nothing is said.
    """

    labels: Sequence[str] = ()
    skeleton: Sequence[Tuple[int, int]] = ()
    threshold: Optional[float] = None

    @staticmethod
    def of(manifest: Manifest) -> "Meaning":
        """What a bundle's manifest says."""
        return Meaning(manifest.input.labels, manifest.answer.skeleton, manifest.answer.threshold)

    def name(self, number: int) -> str:
        """The label of this number, or the number where it has none."""
        return self.labels[number] if 0 <= number < len(self.labels) else str(number)


class Meter(ABC):
    """A metric over any number of batches."""

    @abstractmethod
    def add(self, outputs: Sequence[Tensor], truths: Sequence[Any]) -> None:
        """Count a batch: the network's outputs, and what a batch of the loader holds behind the inputs.

        Raises `DataError` where the truths are not what the application needs.
        """

    @abstractmethod
    def figures(self) -> Dict[str, float]:
        """The metrics by name, the application's own first. Raises `DataError` where nothing can be said."""


class Task(ABC):
    """An application. ``name`` is what bundles call it, ``metric`` the figure its networks are judged by."""

    name: str
    metric: str

    @abstractmethod
    def meter(self) -> Meter:
        """A new metric that has counted nothing."""

    @abstractmethod
    def trivial(self) -> Trivial:
        """A new trivial answer that has counted nothing."""

    @abstractmethod
    def reads(self, outputs: Sequence[Tensor]) -> bool:
        """Whether a network's outputs have the shapes of this application's."""

    @abstractmethod
    def facts(self, outputs: Sequence[Tensor], meaning: Meaning) -> Dict[str, Any]:
        """The answer to a batch of one, as plain values."""

    @abstractmethod
    def text(self, facts: Mapping[str, Any]) -> str:
        """`facts` for people."""
