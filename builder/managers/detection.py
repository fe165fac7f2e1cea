"""Object detection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch.nn as nn

from legodnn.builder.managers.task import TaskManager
from legodnn.shared.tasks.detection import Detection


@runtime_checkable
class GivesMaps(Protocol):
    """A network that returns raw maps, and has a network that returns detections."""

    def detecting(self, height: int, width: int) -> nn.Module:
        """The network to cut in its place: images of this size, in pixels, to boxes, scores and labels."""


class DetectionManager(TaskManager):
    """Object detection: images (n, 3, height, width), normalised, to boxes (n, d, 4), scores (n, d) and labels (n, d).

    A batch has the images and a list of n `legodnn.shared.tasks.detection.Boxes`. For torchvision's detectors, a
    `GivesMaps`, and any other network with these outputs in this order.
    """

    def __init__(self) -> None:
        super().__init__(Detection())

    def network_to_cut(self, teacher_model: nn.Module, model_input_size: Sequence[int]) -> nn.Module:
        """See `AbstractModelManager.network_to_cut`; for a `GivesMaps` the network it has for that."""
        if isinstance(teacher_model, GivesMaps):
            return teacher_model.detecting(*model_input_size[-2:])
        return super().network_to_cut(teacher_model, model_input_size)
