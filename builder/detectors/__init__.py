"""torchvision's detectors in plain torch operators, for devices that have no torchvision."""

from legodnn.builder.detectors.plain import plain_detector

__all__ = ["plain_detector"]
