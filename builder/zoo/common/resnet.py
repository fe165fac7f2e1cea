"""ResNet-18's stages, which other networks build on, and its backbone for large images.

He, Zhang, Ren, Sun, *Deep residual learning for image recognition*, CVPR 2016. Dilation in place of stride follows Yu,
Koltun, Funkhouser, *Dilated residual networks*, CVPR 2017.
"""

from __future__ import annotations

from collections.abc import Callable

import torch.nn as nn
from torch import Tensor

from legodnn.builder.zoo.common.layers import conv_norm, conv_norm_relu

Gate = Callable[[int], nn.Module]
"""Makes a module that leaves the shape (n, channels, h, w) as it is."""


class Residual(nn.Module):
    """A body, which turns (n, inputs, h, w) into (n, outputs, h / stride, w / stride), beside a shortcut."""

    def __init__(self, body: nn.Module, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.body = body
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else conv_norm(inputs, outputs, 1, stride)
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, h, w) to (n, outputs, h / stride, w / stride)."""
        y: Tensor = self.activation(self.body(x) + self.shortcut(x))
        return y


def residual(
    inputs: int, outputs: int, stride: int = 1, dilations: tuple[int, int] = (1, 1), gate: Gate = nn.Identity
) -> Residual:
    """Two 3x3 convolutions and a gate beside a shortcut; ``dilations`` are those of the two convolutions."""
    body = nn.Sequential(
        conv_norm_relu(inputs, outputs, 3, stride, dilation=dilations[0]),
        conv_norm(outputs, outputs, 3, dilation=dilations[1]),
        gate(outputs),
    )
    return Residual(body, inputs, outputs, stride)


def residual_stages(width: int, dilated: int = 0, gate: Gate = nn.Identity) -> list[nn.Sequential]:
    """The four stages: (n, width, h, w) to (n, 8 width, h / 8, w / 8), gated.

    In the last ``dilated`` stages dilation replaces stride, so that the result is twice as large for each.
    """
    stages = []
    inputs, dilation = width, 1
    for stage in range(4):
        outputs, before = width << stage, dilation
        stride = 1 if stage == 0 else 2
        if stage >= 4 - dilated:
            # The first convolution reads the map of the stage before, hence its dilation.
            stride, dilation = 1, dilation * 2
        first = residual(inputs, outputs, stride, (before, dilation), gate)
        stages.append(nn.Sequential(first, residual(outputs, outputs, 1, (dilation, dilation), gate)))
        inputs = outputs
    return stages


class ResNet18Backbone(nn.Module):
    """ResNet-18 up to its last feature map; ``width`` is the stem's channels, 64 in the original.

    ``dilated`` (0 to 3) counts the last stages that dilate instead of halving the map.
    """

    def __init__(self, width: int = 64, dilated: int = 0) -> None:
        super().__init__()
        self.channels = 8 * width
        self.stem = nn.Sequential(conv_norm_relu(3, width, 7, 2), nn.MaxPool2d(3, 2, 1))
        self.stages = nn.Sequential(*residual_stages(width, dilated))

    def forward(self, x: Tensor) -> Tensor:
        """Images (n, 3, h, w) to features (n, channels, h / s, w / s) with s = 32 >> dilated."""
        features: Tensor = self.stages(self.stem(x))
        return features
