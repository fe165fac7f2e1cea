"""All applications by their names in bundles."""

from __future__ import annotations

from typing import Mapping, Optional

from legodnn.shared.tasks.anomaly import Anomaly
from legodnn.shared.tasks.classification import ACTIONS, IMAGES
from legodnn.shared.tasks.detection import Detection
from legodnn.shared.tasks.pose import Pose
from legodnn.shared.tasks.segmentation import Segmentation
from legodnn.shared.tasks.task import Task

TASKS: Mapping[str, Task] = {
    task.name: task for task in (IMAGES, Segmentation(), Detection(), ACTIONS, Anomaly(), Pose())
}


def task_named(name: str) -> Optional[Task]:
    """The application of this name; None for an unknown one."""
    return TASKS.get(name)
