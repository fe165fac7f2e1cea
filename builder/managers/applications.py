"""One manager per application: a batch is (inputs, truths...), accuracy is the application's own metric."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
import torch.nn as nn

from legodnn.builder.detectors.yolo import detecting_yolov3
from legodnn.builder.graph.values import tensors_in
from legodnn.builder.managers.abstract import AbstractModelManager, Device
from legodnn.builder.zoo.yolov3 import YOLOv3
from legodnn.shared.bundle.manifest import AnswerSpec
from legodnn.shared.tasks.anomaly import Anomaly
from legodnn.shared.tasks.classification import ACTIONS, IMAGES
from legodnn.shared.tasks.detection import Detection
from legodnn.shared.tasks.segmentation import Segmentation
from legodnn.shared.tasks.task import Task

NORMAL = 0.95
"""Share of normal inputs that an anomaly detector shall call normal."""


class TaskManager(AbstractModelManager):
    """For networks of an application that LegoDNN knows; the first item of a batch is what they take."""

    def __init__(self, application: Task) -> None:
        self.application = application
        self.task, self.metric = application.name, application.metric

    def forward_to_gen_mid_data(self, model: nn.Module, batch_data: Any, device: Device) -> Any:
        """Run ``model`` on the inputs of a batch ``(inputs, truths...)``."""
        return model(batch_data[0].to(device))

    def get_model_acc(self, model: nn.Module, test_loader: Iterable[Any], device: Device) -> float:
        """The application's metric. Raises `DataError` where the loader gives nothing to judge."""
        return self.get_model_figures(model, test_loader, device)[self.metric]

    def get_model_figures(self, model: nn.Module, test_loader: Iterable[Any], device: Device) -> dict[str, float]:
        """All the metrics of the application by name. Raises `DataError` where the loader gives nothing to judge."""
        meter = self.application.meter()
        with torch.no_grad():
            for inputs, *truths in test_loader:
                meter.add(tensors_in(model(inputs.to(device))), truths)
        return meter.figures()

    def get_trivial_acc(self, test_loader: Iterable[Any]) -> float | None:
        """See `AbstractModelManager.get_trivial_acc`; None where a subclass judges networks in its own way."""
        if type(self).get_model_acc is not TaskManager.get_model_acc:
            return None
        constant = self.application.trivial()
        for _, *truths in test_loader:
            constant.add(truths)
        return constant.figures().get(self.metric)


class CommonModelManager(TaskManager):
    """Image classification: images (n, channels, height, width) to scores (n, classes); labels are int64 (n,)."""

    def __init__(self) -> None:
        super().__init__(IMAGES)


class ActionManager(TaskManager):
    """Action recognition: clips to scores (n, classes); labels are int64 (n,)."""

    def __init__(self) -> None:
        super().__init__(ACTIONS)


class SegmentationManager(TaskManager):
    """Semantic segmentation: images to scores (n, classes, height, width); masks are int64 (n, height, width).

    Networks that return a dictionary, as torchvision's do, are judged by its first item.
    """

    def __init__(self) -> None:
        super().__init__(Segmentation())


class AnomalyManager(TaskManager):
    """Anomaly detection: inputs to scores (n, 1), higher for what is unusual; truths are int64 (n,), 1 for abnormal."""

    def __init__(self) -> None:
        super().__init__(Anomaly())

    def answer_spec(self, model: nn.Module, test_loader: Iterable[Any], device: Device) -> AnswerSpec:
        """The score that `NORMAL` of the normal inputs of the loader stay below."""
        with torch.no_grad():
            scores = [model(x.to(device)).flatten()[abnormal.to(device) == 0].cpu() for x, abnormal in test_loader]
        return AnswerSpec(threshold=float(torch.cat(scores).double().quantile(NORMAL)))


class DetectionManager(TaskManager):
    """Object detection: images (n, 3, height, width), normalised, to boxes (n, d, 4), scores (n, d) and labels (n, d).

    A batch has the images and a list of n `legodnn.shared.tasks.detection.Boxes`. For torchvision's detectors and
    YOLOv3, and any other network that returns what it finds in that order.
    """

    def __init__(self) -> None:
        super().__init__(Detection())

    def network_to_cut(self, teacher_model: nn.Module, model_input_size: Sequence[int]) -> nn.Module:
        """See `AbstractModelManager.network_to_cut`; YOLOv3's maps are made into detections."""
        if isinstance(teacher_model, YOLOv3):
            return detecting_yolov3(teacher_model, *model_input_size[-2:])
        return super().network_to_cut(teacher_model, model_input_size)
