"""torchvision's detectors and YOLOv3 in plain torch operators, for devices that have no torchvision."""

from legodnn.builder.detectors.plain import is_detector, plain_detector

__all__ = ["is_detector", "plain_detector"]
