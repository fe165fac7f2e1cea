"""`Task`: an application; `Meter`: its metrics, `Part`: those of a class; `Meaning`: labels and thresholds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Dict, Mapping, Optional, Sequence, Tuple

from torch import Tensor

from legodnn.shared.bundle.manifest import Manifest
from legodnn.shared.errors import DataError
from legodnn.shared.tasks.chance import Chance


@dataclass(frozen=True)
class Meaning:
    """The meaning of a network's outputs, from its bundle.

    ``labels`` are the names of classes or keypoints, ``skeleton`` the pairs of keypoints that are joined, ``threshold``
    the score above which an image is abnormal; empty or None where unknown.
    """

    labels: Sequence[str] = ()
    skeleton: Sequence[Tuple[int, int]] = ()
    threshold: Optional[float] = None

    @staticmethod
    def of(manifest: Manifest) -> "Meaning":
        """The meaning in a manifest."""
        return Meaning(manifest.input.labels, manifest.answer.skeleton, manifest.answer.threshold)

    def name(self, number: int) -> str:
        """The label of this number, or the number where it has none."""
        return self.labels[number] if 0 <= number < len(self.labels) else str(number)


@dataclass(frozen=True)
class Part:
    """One class, or keypoint, of an evaluation: its ``number``, how often the truths have it, and its metrics by name,
    None where one is undefined (the recall of a class that never occurs, the precision of one never found)."""

    number: int
    count: int
    figures: Dict[str, Optional[float]]


class Meter(ABC):
    """The metrics of an application over any number of batches."""

    @abstractmethod
    def add(self, outputs: Sequence[Tensor], truths: Sequence[Any]) -> None:
        """Count a batch: the network's outputs, and the truths, which follow the inputs in a loader's batch.

        Raises `DataError` for truths that are not the application's. An answer that is not a number counts as wrong.
        """

    @abstractmethod
    def figures(self) -> Dict[str, float]:
        """The metrics by name, the application's own first. Raises `DataError` where they are undefined, as they are
        where nothing was judged."""

    def parts(self) -> Sequence[Part]:
        """The same for each class, or keypoint, by number; empty where the application has none."""
        return ()

    def confusion(self) -> Optional[Sequence[Sequence[int]]]:
        """How many inputs of each class (rows) were taken for which (columns); None where that is not counted."""
        return None

    @property
    def lost(self) -> int:
        """How many answers were no numbers (NaN, or infinite), and counted as wrong."""
        return 0


def check_lengths(answers: int, truths: int) -> None:
    """Raise `DataError` unless there is a truth for each answer."""
    if answers != truths:
        raise DataError(f"{answers} answers of the network, but {truths} truths")


class Task(ABC):
    """An application; ``name`` is its name in bundles, ``metric`` that of its networks' accuracy."""

    name: str
    metric: str

    share = False
    """Whether the metric is the share of inputs that are right."""

    part, parts = "class", "classes"
    """What one of `Meter.parts` is, and what all are."""

    counted = "examples"
    """What `Part.count` counts."""

    @abstractmethod
    def meter(self) -> Meter:
        """A new meter."""

    @abstractmethod
    def chance(self) -> Chance:
        """A new chance level."""

    @abstractmethod
    def reads(self, outputs: Sequence[Tensor]) -> bool:
        """Whether outputs have the shapes of this application."""

    @abstractmethod
    def results(self, outputs: Sequence[Tensor], meaning: Meaning) -> Dict[str, Any]:
        """The results for a batch of one, as plain values."""

    @abstractmethod
    def text(self, results: Mapping[str, Any]) -> str:
        """`results` as text."""
