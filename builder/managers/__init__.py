"""How a kind of network is run and judged.

    AbstractModelManager   the plug for networks with their own way of training
    CommonModelManager     image classification
"""

from legodnn.builder.managers.abstract import AbstractModelManager
from legodnn.builder.managers.classification import CommonModelManager

__all__ = ["AbstractModelManager", "CommonModelManager"]
