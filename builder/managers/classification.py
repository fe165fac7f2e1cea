"""Image classification."""

from __future__ import annotations

from legodnn.builder.managers.task import TaskManager
from legodnn.shared.tasks.classification import IMAGES


class CommonModelManager(TaskManager):
    """Image classification: images (n, channels, height, width) to scores (n, classes); labels are int64 (n,)."""

    def __init__(self) -> None:
        super().__init__(IMAGES)
