"""Object detection."""

from __future__ import annotations

from legodnn.builder.managers.task import TaskManager
from legodnn.shared.tasks.detection import Detection


class DetectionManager(TaskManager):
    """Object detection: images (n, 3, height, width), normalised, to boxes (n, d, 4), scores (n, d) and labels (n, d).

    A batch has the images and a list of n `legodnn.shared.tasks.detection.Boxes`. For torchvision's detectors and
    YOLOv3, and any other network that returns what it finds in that order.
    """

    def __init__(self) -> None:
        super().__init__(Detection())
