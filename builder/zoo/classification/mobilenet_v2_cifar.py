"""MobileNetV2 for small images: stem and first down-sampling stage keep the image's size.

Sandler, Howard, Zhu, Zhmoginov, Chen, *MobileNetV2: inverted residuals and linear bottlenecks*, CVPR 2018.
"""

from __future__ import annotations

import torch.nn as nn
from torch import Tensor

from legodnn.builder.zoo.common.layers import conv_norm, pooled_linear

_STAGES = ((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion, channels, blocks and stride of the first block."""


class InvertedResidual(nn.Module):
    """Expand, filter each channel by itself, project; the shortcut joins the two narrow ends where they agree."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        expand = [conv_norm(inputs, hidden, 1, activation=nn.ReLU6(inplace=True))] if expansion > 1 else []
        self.body = nn.Sequential(
            *expand,
            conv_norm(hidden, hidden, 3, stride, groups=hidden, activation=nn.ReLU6(inplace=True)),
            conv_norm(hidden, outputs, 1),
        )
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, h, w) to (n, outputs, h / stride, w / stride)."""
        y: Tensor = self.body(x)
        return x + y if self.residual else y


def mobilenet_v2(width: float = 1.0, classes: int = 10) -> nn.Sequential:
    """MobileNetV2 (Sandler et al., CVPR 2018), untrained: (n, 3, 32, 32) to (n, classes).

    ``width`` multiplies the channels, rounded to multiples of 8; the last feature map is not made narrower than the
    original's.
    """
    inputs, last = _scaled(32, width), _scaled(1280, max(width, 1.0))
    layers: list[nn.Module] = [conv_norm(3, inputs, 3, activation=nn.ReLU6(inplace=True))]
    for expansion, channels, blocks, stride in _STAGES:
        outputs = _scaled(channels, width)
        for block in range(blocks):
            layers.append(InvertedResidual(inputs, outputs, stride if block == 0 else 1, expansion))
            inputs = outputs
    layers.append(conv_norm(inputs, last, 1, activation=nn.ReLU6(inplace=True)))
    return nn.Sequential(*layers, pooled_linear(last, classes))


def _scaled(channels: int, width: float) -> int:
    return max(8, round(channels * width / 8) * 8)
