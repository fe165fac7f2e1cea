"""CBAM-ResNet-18 for small images: each residual is weighted by channel, then by position.

Woo, Park, Lee, Kweon, *CBAM: convolutional block attention module*, ECCV 2018.
"""

from __future__ import annotations

import torch
import torch.nn as nn
from torch import Tensor

from legodnn.builder.zoo.common.layers import conv_norm, conv_norm_relu, pooled_linear
from legodnn.builder.zoo.common.resnet import residual_stages


class ChannelGate(nn.Module):
    """A factor for each channel: one perceptron reads the means and the maxima, and the two answers are added."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.perceptron = nn.Sequential(
            nn.Conv2d(channels, hidden, 1), nn.ReLU(inplace=True), nn.Conv2d(hidden, channels, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, h, w) to the same shape."""
        mean: Tensor = self.perceptron(x.mean((2, 3), keepdim=True))
        largest: Tensor = self.perceptron(x.amax((2, 3), keepdim=True))
        return x * (mean + largest).sigmoid()


class SpatialGate(nn.Module):
    """A factor for each position: a 7x7 convolution over the mean and the maximum of the channels there."""

    def __init__(self) -> None:
        super().__init__()
        self.filter = conv_norm(2, 1, 7)

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, h, w) to the same shape."""
        summary = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)
        logits: Tensor = self.filter(summary)
        return x * logits.sigmoid()


def _gates(channels: int) -> nn.Sequential:
    return nn.Sequential(ChannelGate(channels), SpatialGate())


def cbam_resnet18(width: int = 64, classes: int = 10) -> nn.Sequential:
    """CBAM-ResNet-18 (Woo et al., ECCV 2018), untrained: (n, 3, 32, 32) to (n, classes).

    ``width`` is the stem's channels, 64 in the original.
    """
    stages = residual_stages(width, gate=_gates)
    return nn.Sequential(conv_norm_relu(3, width), *stages, pooled_linear(8 * width, classes))
