"""ResNet-18 for small images: a 3x3 stem without pooling (He et al., *Deep residual learning*, CVPR 2016)."""

from __future__ import annotations

import torch.nn as nn
from torch import Tensor


class Residual(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, h, w) to (n, outputs, h / stride, w / stride)."""
        y: Tensor = self.activation(self.body(x) + self.shortcut(x))
        return y


def resnet18(width: int = 16, classes: int = 10) -> nn.Sequential:
    """The network for images (n, 3, 32, 32), untrained; ``width`` is the stem's channels, 64 in the original."""
    layers: list[nn.Module] = [
        nn.Sequential(nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True))
    ]
    inputs = width
    for stage in range(4):
        outputs = width << stage
        layers.append(
            nn.Sequential(Residual(inputs, outputs, 1 if stage == 0 else 2), Residual(outputs, outputs, 1))
        )
        inputs = outputs
    layers.append(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes)))
    return nn.Sequential(*layers)
