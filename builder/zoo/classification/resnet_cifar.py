"""ResNet-18 for small images: a 3x3 stem without pooling (He et al., *Deep residual learning*, CVPR 2016)."""

from __future__ import annotations

import torch.nn as nn

from legodnn.builder.zoo.common.resnet import Residual


def _residual(inputs: int, outputs: int, stride: int) -> Residual:
    """Two 3x3 convolutions beside a shortcut."""
    body = nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
        nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
        nn.BatchNorm2d(outputs),
    )
    return Residual(body, inputs, outputs, stride)


def resnet18(width: int = 16, classes: int = 10) -> nn.Sequential:
    """The network for images (n, 3, 32, 32), untrained; ``width`` is the stem's channels, 64 in the original."""
    layers: list[nn.Module] = [
        nn.Sequential(nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True))
    ]
    inputs = width
    for stage in range(4):
        outputs = width << stage
        layers.append(
            nn.Sequential(_residual(inputs, outputs, 1 if stage == 0 else 2), _residual(outputs, outputs, 1))
        )
        inputs = outputs
    layers.append(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes)))
    return nn.Sequential(*layers)
