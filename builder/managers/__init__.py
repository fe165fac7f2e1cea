"""How a kind of network is run and judged.

    AbstractModelManager   the plug for networks with their own way of training
    applications           a manager for each of the applications; CommonModelManager is image classification's
"""

from legodnn.builder.managers.abstract import AbstractModelManager
from legodnn.builder.managers.applications import (
    ActionManager,
    CommonModelManager,
    DetectionManager,
    SegmentationManager,
    TaskManager,
)

__all__ = [
    "AbstractModelManager",
    "ActionManager",
    "CommonModelManager",
    "DetectionManager",
    "SegmentationManager",
    "TaskManager",
]
