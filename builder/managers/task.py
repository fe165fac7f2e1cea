"""Managers of the applications: a batch is (inputs, ground truths...), accuracy is the application's metric."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn as nn

from legodnn.builder.graph.values import tensors_in
from legodnn.builder.managers.abstract import AbstractModelManager, Device
from legodnn.shared.tasks.task import Task


class TaskManager(AbstractModelManager):
    """For networks of an application that LegoDNN knows; the first item of a batch is their input."""

    def __init__(self, application: Task) -> None:
        self.application = application
        self.task, self.metric = application.name, application.metric

    def forward_to_gen_mid_data(self, model: nn.Module, batch_data: Any, device: Device) -> Any:
        """Run ``model`` on the inputs of a batch ``(inputs, truths...)``."""
        return model(batch_data[0].to(device))

    def get_model_acc(self, model: nn.Module, test_loader: Iterable[Any], device: Device) -> float:
        """The application's metric. Raises `DataError` where the loader yields nothing to evaluate."""
        return self.get_model_figures(model, test_loader, device)[self.metric]

    def get_model_figures(self, model: nn.Module, test_loader: Iterable[Any], device: Device) -> dict[str, float]:
        """All the metrics of the application by name. Raises `DataError` where the loader yields nothing to
        evaluate."""
        meter = self.application.meter()
        with torch.no_grad():
            for inputs, *truths in test_loader:
                meter.add(tensors_in(model(inputs.to(device))), truths)
        return meter.figures()

    def get_trivial_acc(self, test_loader: Iterable[Any]) -> float | None:
        """See `AbstractModelManager.get_trivial_acc`; None where a subclass has its own `get_model_acc`."""
        if type(self).get_model_acc is not TaskManager.get_model_acc:
            return None
        constant = self.application.chance()
        for _, *truths in test_loader:
            constant.add(truths)
        return constant.figures().get(self.metric)
