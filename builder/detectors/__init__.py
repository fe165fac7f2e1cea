"""torchvision's detectors in plain torch operators, for devices that have no torchvision; YOLOv3 uses some of them,
too."""

from legodnn.builder.detectors.plain import is_detector, plain_detector

__all__ = ["is_detector", "plain_detector"]
