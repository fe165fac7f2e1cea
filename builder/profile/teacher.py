"""The teacher judged once, as a whole, before anything is distilled from it; and its labels before it is trained.

    check_labels(manager, network, {"data.train": train, "data.test": test}, device)    # before the teacher is trained
    warnings += judge_teacher(manager, teacher, test, device).warnings                  # before blocks are distilled
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

from legodnn.builder.data.checked import CheckedLoader
from legodnn.builder.data.labels import check_known_labels, check_label
from legodnn.builder.graph.values import tensors_in
from legodnn.builder.managers.abstract import AbstractModelManager, Device
from legodnn.builder.managers.task import TaskManager
from legodnn.builder.workdir.faults import own_line, told
from legodnn.shared.errors import DataError, LegoError, ModelError, is_shortage
from legodnn.shared.tasks.classification import Classification
from legodnn.shared.tasks.judgement import Judgement
from legodnn.shared.tasks.prediction import is_share, standard_error
from legodnn.shared.tasks.segmentation import IGNORED, Segmentation

SURE = 2.0
"""Standard errors that a share of right inputs must be above chance to be told from it: one in forty that is no better
is as far above by accident."""

_ROUNDING = 1e-6

_UNREADABLE = (ValueError, TypeError, AttributeError, IndexError, KeyError, RuntimeError)
"""What managers raise for answers and labels of another kind than theirs."""


@dataclass(frozen=True)
class TeacherFigures:
    """A teacher on test data.

    ``accuracy`` is the manager's, called ``metric``; ``chance`` the chance level of it, None where it is not known;
    ``inputs`` the number of those judged, 0 where batches do not tell; ``judgement`` has all the figures of the
    manager's application, None where it has none or its batches are not that application's.
    """

    task: str
    metric: str
    accuracy: float
    chance: float | None
    inputs: int
    judgement: Judgement | None

    @property
    def warnings(self) -> list[str]:
        """A sentence where the teacher is no better than chance, and a guess why."""
        metric, value, chance = self._comparable()
        if chance is None:
            return []
        margin = SURE * standard_error(chance, self.inputs) if self.inputs and is_share(self.task, metric) else 0.0
        if value > chance + margin:
            return []
        how = "no better than" if value <= chance else f"on {self.inputs:,} inputs not to be told from"
        return [
            f"data.test: the teacher's {metric}, {value:.2%}, is {how} chance, {chance:.2%}: its variants can learn "
            f"nothing from it; {self._remedy()}"
        ]

    def _comparable(self) -> tuple[str, float, float | None]:
        """The metric, or the application's where only that has a chance level; with its value and that level."""
        if self.chance is not None or self.judgement is None:
            return self.metric, self.accuracy, self.chance
        if self.metric in self.judgement.chance:
            return self.metric, self.accuracy, self.judgement.chance[self.metric]
        first = next(iter(self.judgement.figures))
        return first, self.judgement.figures[first], self.judgement.chance.get(first)

    def _remedy(self) -> str:
        if self.judgement is not None and self.judgement.figures.get("AUROC", 1.0) < 0.5:
            return f"its AUROC is {self.judgement.figures['AUROC']:.2%}: are the two classes swapped in the labels?"
        return "look at its weights, at the order of the labels, and at how the loader normalises"


def judge_teacher(
    manager: AbstractModelManager, teacher: nn.Module, test: Iterable[Any], device: Device = "cpu"
) -> TeacherFigures:
    """Judge a teacher on its test data, in one pass, or two for a manager with a `get_model_acc` of its own.

    Random numbers of the loader are drawn apart from torch's own. Raises `DataError` for data that cannot be judged,
    `ModelError` for answers that are no numbers and for an accuracy that is none in [0, 1].
    """
    loader = Counted(test)
    with _running(teacher, device) as network, torch.random.fork_rng(devices=[]):
        try:
            judgement = teacher_judgement(manager, network, loader, device)
            if judgement is not None and isinstance(manager, TaskManager) and not manager.judges_itself:
                accuracy = manager.chosen(judgement.figures)
            else:
                accuracy = float(manager.get_model_acc(network, loader, device))
            chance = manager.get_trivial_acc(test)
        except DataError as error:
            raise DataError(str(error) if str(error).startswith("data.test") else f"data.test: {error}") from error
        except LegoError:
            raise
        except _UNREADABLE as error:
            if is_shortage(error) or own_line(error) is not None:
                raise
            raise ModelError(
                f"manager: {type(manager).__name__} cannot read the network's answers or the labels of data.test "
                f"({told(error)}); is it the manager of this kind of network?"
            ) from error
    if judgement is not None and judgement.lost:
        raise ModelError(f"the teacher's answers on data.test are not finite numbers ({judgement.lost:,} of them)")
    _check_accuracy(manager, accuracy)
    return TeacherFigures(manager.task, manager.metric, accuracy, chance, loader.inputs, judgement)


def teacher_judgement(
    manager: AbstractModelManager, network: nn.Module, loader: Iterable[Any], device: Device
) -> Judgement | None:
    """The figures of the manager's application; None where it has none, or where a manager that judges by itself has
    batches that are not the application's. Raises `DataError` for data that cannot be judged."""
    if not isinstance(manager, TaskManager):
        return None
    try:
        return manager.get_model_judgement(network, loader, device)
    except Exception:
        if not manager.judges_itself:
            raise
        return None  # batches of a manager that judges by itself need not be the application's


def _check_accuracy(manager: AbstractModelManager, accuracy: float) -> None:
    if math.isfinite(accuracy) and -_ROUNDING <= accuracy <= 1 + _ROUNDING:
        return
    raise ModelError(
        f"manager: get_model_acc of {type(manager).__name__} says {accuracy:g} for the teacher; a fraction from 0 to 1 "
        "is expected, of which more is better (percent divided by 100)"
    )


def check_labels(
    manager: AbstractModelManager,
    network: nn.Module,
    loaders: Mapping[str, Iterable[Any]],
    device: Device = "cpu",
    *,
    read: bool = True,
) -> None:
    """Look for labels that the network has no score for, before it is trained: for classes of inputs, or of pixels.

    Labels in memory are read as they are; of other data the whole of ``data.test``, where it is to be ``read``
    now. Batches of others are checked as they come, before anything learns from them. Nothing is done for managers
    that are no application's. Raises `DataError`, which begins with the loader's name.
    """
    if not isinstance(manager, TaskManager) or manager.judges_itself:
        return
    if not isinstance(manager.application, (Classification, Segmentation)):
        return
    classes = _scores(manager, network, next(iter(loaders.values())), device)
    if classes is None:
        return
    ignored = IGNORED if isinstance(manager.application, Segmentation) else None
    for name, loader in loaders.items():
        inside = loader
        if isinstance(loader, CheckedLoader):
            loader.classes, loader.ignored, inside = classes, ignored, loader.loader
        if ignored is None and check_known_labels(inside, name, classes):
            continue
        if read and name == "data.test":
            with torch.random.fork_rng(devices=[]):
                for number, batch in enumerate(loader):
                    check_label(f"{name}: batch {number}", batch[1], classes, ignored)


def _scores(manager: AbstractModelManager, network: nn.Module, loader: Iterable[Any], device: Device) -> int | None:
    """How many scores the network gives; None where its answer is no tensor of scores."""
    with _running(network, device) as running, torch.random.fork_rng(devices=[]):
        found = tensors_in(manager.forward_to_gen_mid_data(running, next(iter(loader)), device))
    return int(found[0].shape[1]) if found and found[0].dim() >= 2 else None


@contextmanager
def _running(network: nn.Module, device: Device) -> Iterator[nn.Module]:
    """The network on a device and in eval mode, without gradients; behind the ``with`` block it is as before."""
    before = next((value.device for value in network.parameters()), torch.device(device))
    training = {name: module.training for name, module in network.named_modules()}
    try:
        with torch.no_grad():
            yield network.to(device).eval()
    finally:
        network.to(before)
        for name, module in network.named_modules():
            module.training = training[name]


class Counted:
    """A loader that counts the inputs of its latest pass: the first item of a batch, or the batch itself."""

    def __init__(self, loader: Iterable[Any]) -> None:
        self.loader = loader
        self.inputs = 0

    def __len__(self) -> int:
        return len(self.loader)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Any]:
        self.inputs = 0
        for batch in self.loader:
            first = batch[0] if isinstance(batch, (tuple, list)) and batch else batch
            self.inputs += len(first) if isinstance(first, Tensor) and first.dim() else 0
            yield batch
