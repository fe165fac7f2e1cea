"""Managers of the applications: a batch is (inputs, ground truths...), accuracy is the application's metric."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
import torch.nn as nn

from legodnn.builder.graph.values import tensors_in
from legodnn.builder.managers.abstract import AbstractModelManager, Device
from legodnn.shared.errors import UsageError
from legodnn.shared.tasks.chance import Chance
from legodnn.shared.tasks.judgement import Judgement
from legodnn.shared.tasks.task import Meter, Task


class TaskManager(AbstractModelManager):
    """For networks of an application that LegoDNN knows; the first item of a batch is their input.

    ``task`` and ``metric`` are the application's, except where a subclass says its own. A subclass with its own
    `get_model_acc` and no ``metric`` is judged by "accuracy": what it computes may not be the application's metric.
    """

    def __init__(self, application: Task) -> None:
        self.application = application
        if not self._says("task"):
            self.task = application.name
        if not self._says("metric"):
            self.metric = AbstractModelManager.metric if self.judges_itself else application.metric

    def _says(self, name: str) -> bool:
        """Whether a class below this one has the attribute."""
        kinds = type(self).__mro__
        return any(name in vars(kind) for kind in kinds[: kinds.index(TaskManager)])

    @property
    def judges_itself(self) -> bool:
        """Whether a subclass has its own `get_model_acc`."""
        return type(self).get_model_acc is not TaskManager.get_model_acc

    def forward_to_gen_mid_data(self, model: nn.Module, batch_data: Any, device: Device) -> Any:
        """Run ``model`` on the inputs of a batch ``(inputs, truths...)``."""
        return model(batch_data[0].to(device))

    def get_model_acc(self, model: nn.Module, test_loader: Iterable[Any], device: Device) -> float:
        """The application's metric, or another of its figures that ``metric`` names.

        Raises `DataError` where the loader yields nothing to evaluate, `UsageError` for a ``metric`` that is none of
        the figures.
        """
        return self.chosen(self.get_model_figures(model, test_loader, device))

    def chosen(self, figures: Mapping[str, float]) -> float:
        """The one of the application's figures that ``metric`` names. Raises `UsageError` where none has the name."""
        if self.metric not in figures:
            raise UsageError(
                f"{type(self).__name__}: metric '{self.metric}' is none of the figures of {self.application.name} "
                f"on these examples ({', '.join(figures)}); one of two classes needs examples of both, others are "
                "computed in a get_model_acc of your own"
            )
        return figures[self.metric]

    def get_model_figures(self, model: nn.Module, test_loader: Iterable[Any], device: Device) -> dict[str, float]:
        """All the metrics of the application by name. Raises `DataError` where the loader yields nothing to
        evaluate."""
        return self._meter(model, test_loader, device).figures()

    def get_model_judgement(self, model: nn.Module, test_loader: Iterable[Any], device: Device) -> Judgement:
        """The same with their chance levels, and those of each class or keypoint."""
        constant = self.application.chance()
        return Judgement.of(self._meter(model, test_loader, device, constant), constant)

    def _meter(
        self, model: nn.Module, test_loader: Iterable[Any], device: Device, constant: Chance | None = None
    ) -> Meter:
        meter = self.application.meter()
        with torch.no_grad():
            for inputs, *truths in test_loader:
                meter.add(tensors_in(model(inputs.to(device))), truths)
                if constant is not None:
                    constant.add(truths)
        return meter

    def get_trivial_acc(self, test_loader: Iterable[Any]) -> float | None:
        """See `AbstractModelManager.get_trivial_acc`; None where a subclass has its own `get_model_acc`."""
        if self.judges_itself:
            return None
        constant = self.application.chance()
        for _, *truths in test_loader:
            constant.add(truths)
        return constant.figures().get(self.metric)
