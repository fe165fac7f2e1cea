"""How a kind of network is run and evaluated.

    abstract   AbstractModelManager: the interface, for networks that are run or evaluated in their own manner
    loss       the loss of descendant blocks
    task       TaskManager: what the managers of all applications have in common
    classification, segmentation, detection, pose, action, anomaly   one for each application; image classification's is
               CommonModelManager
"""

from legodnn.builder.managers.abstract import AbstractModelManager
from legodnn.builder.managers.action import ActionManager
from legodnn.builder.managers.anomaly import AnomalyManager
from legodnn.builder.managers.classification import CommonModelManager
from legodnn.builder.managers.detection import DetectionManager
from legodnn.builder.managers.pose import PoseManager
from legodnn.builder.managers.segmentation import SegmentationManager
from legodnn.builder.managers.task import TaskManager

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
