"""Residual attention network for small images, after Attention-56.

Wang, Jiang, Qian, Yang, Li, Zhang, Wang, Tang, *Residual attention network for image classification*, CVPR 2017.
"""

from __future__ import annotations

import torch.nn as nn
from torch import Tensor

from legodnn.builder.zoo.classification.wide_resnet import PreActivated, norm_relu
from legodnn.builder.zoo.common.layers import conv_norm_relu, pooled_linear


def _unit(inputs: int, outputs: int, stride: int = 1) -> PreActivated:
    """A bottleneck with a quarter of the channels in its middle."""
    hidden = outputs // 4
    body = nn.Sequential(
        nn.Conv2d(inputs, hidden, 1, bias=False),
        norm_relu(hidden),
        nn.Conv2d(hidden, hidden, 3, stride, 1, bias=False),
        norm_relu(hidden),
        nn.Conv2d(hidden, outputs, 1, bias=False),
    )
    return PreActivated(inputs, outputs, stride, body)


class SoftMask(nn.Module):
    """Down ``depth`` times and up again, with a connection across at every size between."""

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.MaxPool2d(3, 2, 1), _unit(channels, channels))
        self.inner = SoftMask(channels, depth - 1) if depth > 1 else None
        self.across = _unit(channels, channels) if depth > 1 else None
        up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        self.up = nn.Sequential(_unit(channels, channels), up)

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, h, w) to the same shape; h and w are multiples of 2 ** depth."""
        y = self.down(x)
        if self.inner is not None and self.across is not None:
            y = self.inner(y) + self.across(y)
        mask: Tensor = self.up(y)
        return mask


class Attention(nn.Module):
    """A trunk branch T beside a mask branch M in (0, 1), joined as (1 + M) T."""

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        self.first = _unit(channels, channels)
        self.trunk = nn.Sequential(_unit(channels, channels), _unit(channels, channels))
        self.mask = nn.Sequential(
            SoftMask(channels, depth),
            norm_relu(channels),
            nn.Conv2d(channels, channels, 1, bias=False),
            norm_relu(channels),
            nn.Conv2d(channels, channels, 1),
            nn.Sigmoid(),
        )
        self.last = _unit(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, h, w) to the same shape; h and w are multiples of 2 ** depth."""
        x = self.first(x)
        y: Tensor = self.last((1 + self.mask(x)) * self.trunk(x))
        return y


def attention56(width: int = 64, classes: int = 10) -> nn.Sequential:
    """Attention-56 (Wang et al., CVPR 2017) with a stem that keeps the size, untrained: (n, 3, 32, 32) to (n, classes).

    ``width`` is the stem's channels, 64 in the original. The mask of each stage goes down to 4x4 positions.
    """
    layers: list[nn.Module] = [conv_norm_relu(3, width)]
    inputs = width
    for stage in range(3):
        outputs = 4 * width << stage
        layers += [_unit(inputs, outputs, 1 if stage == 0 else 2), Attention(outputs, 3 - stage)]
        inputs = outputs
    outputs = 2 * inputs
    layers += [_unit(inputs, outputs, 2), _unit(outputs, outputs), _unit(outputs, outputs), norm_relu(outputs)]
    return nn.Sequential(*layers, pooled_linear(outputs, classes))
