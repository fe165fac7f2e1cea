"""How a kind of network is run and judged.

    AbstractModelManager   the plug for networks with their own way of training
    applications           a manager for each of the applications; CommonModelManager is image classification's
    pose                   that of pose estimation, and how keypoints are read off a network's answer
"""

from legodnn.builder.managers.abstract import AbstractModelManager
from legodnn.builder.managers.applications import (
    ActionManager,
    AnomalyManager,
    CommonModelManager,
    DetectionManager,
    SegmentationManager,
    TaskManager,
)
from legodnn.builder.managers.pose import PoseManager

__all__ = [
    "AbstractModelManager",
    "ActionManager",
    "AnomalyManager",
    "CommonModelManager",
    "DetectionManager",
    "PoseManager",
    "SegmentationManager",
    "TaskManager",
]
