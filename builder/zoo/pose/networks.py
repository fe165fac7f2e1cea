"""Human pose on ResNet-18: coordinates regressed, or read off heat maps.

Toshev, Szegedy, *DeepPose: human pose estimation via deep neural networks*, CVPR 2014; Xiao, Wu, Wei, *Simple baselines
for human pose estimation and tracking*, ECCV 2018.
"""

from __future__ import annotations

import torch.nn as nn
from torch import Tensor

from legodnn.builder.zoo.common.resnet import ResNet18Backbone


class DeepPose(nn.Module):
    """The first stage of DeepPose: all coordinates from the mean of the features."""

    def __init__(self, width: int, keypoints: int) -> None:
        super().__init__()
        self.keypoints = keypoints
        self.trunk = ResNet18Backbone(width)
        self.head = nn.Linear(self.trunk.channels, 2 * keypoints)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 3, h, w) to coordinates (n, keypoints, 2)."""
        places: Tensor = self.head(self.trunk(x).mean((2, 3))).reshape(-1, self.keypoints, 2)
        return places


def deeppose_resnet18(width: int = 64, keypoints: int = 17) -> DeepPose:
    """DeepPose-R18 (Toshev, Szegedy, CVPR 2014), untrained: (n, 3, h, w) to coordinates (n, keypoints, 2).

    ``width`` is the stem's channels, 64 in the original.
    """
    return DeepPose(width, keypoints)


def simple_baseline_resnet18(width: int = 64, keypoints: int = 17) -> nn.Sequential:
    """SimpleBaseline-R18 (Xiao et al., ECCV 2018), untrained: (n, 3, h, w) to heat maps (n, keypoints, h / 4, w / 4).

    h and w are multiples of 32. ``width`` is the stem's channels, 64 in the original, and a quarter of those of the
    three transposed convolutions.
    """
    backbone = ResNet18Backbone(width)
    layers: list[nn.Module] = []
    inputs, outputs = backbone.channels, 4 * width
    for _ in range(3):
        layers += [
            nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        ]
        inputs = outputs
    return nn.Sequential(backbone, *layers, nn.Conv2d(outputs, keypoints, 1))
