"""Semantic segmentation."""

from __future__ import annotations

from legodnn.builder.managers.task import TaskManager
from legodnn.shared.tasks.segmentation import Segmentation


class SegmentationManager(TaskManager):
    """Semantic segmentation: images to scores (n, classes, height, width); masks are int64 (n, height, width).

    Networks that return a dictionary, as torchvision's do, are evaluated by its first item.
    """

    def __init__(self) -> None:
        super().__init__(Segmentation())
