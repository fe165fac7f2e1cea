"""FCN and DeepLabv3 on a ResNet-18 whose last two stages dilate.

Long, Shelhamer, Darrell, *Fully convolutional networks for semantic segmentation*, CVPR 2015 (without its skips, which
dilation makes unnecessary); Chen, Papandreou, Schroff, Adam, *Rethinking atrous convolution for semantic image
segmentation*, arXiv:1706.05587, 2017.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from legodnn.builder.zoo.common.layers import conv_norm_relu
from legodnn.builder.zoo.common.resnet import ResNet18Backbone


class Segmenter(nn.Module):
    """A backbone and a head that scores every position, brought to the image's size."""

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.trunk = backbone
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        """(n, 3, h, w) to scores (n, classes, h, w)."""
        scores = self.head(self.trunk(x))
        return F.interpolate(scores, size=x.shape[2:], mode="bilinear", align_corners=False)


class ImagePooling(nn.Module):
    """The mean of the whole map, convolved, at every position."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.layer = conv_norm_relu(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, h, w) to (n, outputs, h, w)."""
        pooled = self.layer(x.mean((2, 3), keepdim=True))
        return F.interpolate(pooled, size=x.shape[2:], mode="bilinear", align_corners=False)


class PyramidPooling(nn.Module):
    """Atrous spatial pyramid pooling: convolutions of several dilations and the image's mean, side by side."""

    def __init__(self, inputs: int, outputs: int, rates: Sequence[int]) -> None:
        super().__init__()
        dilated = [conv_norm_relu(inputs, outputs, 3, dilation=rate) for rate in rates]
        self.branches = nn.ModuleList([conv_norm_relu(inputs, outputs, 1), *dilated, ImagePooling(inputs, outputs)])
        self.project = nn.Sequential(conv_norm_relu(len(self.branches) * outputs, outputs, 1), nn.Dropout(0.5))

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, h, w) to (n, outputs, h, w)."""
        y: Tensor = self.project(torch.cat([branch(x) for branch in self.branches], 1))
        return y


def fcn_resnet18(width: int = 64, classes: int = 21) -> Segmenter:
    """FCN-R18 (Long et al., CVPR 2015), untrained: (n, 3, h, w) to (n, classes, h, w).

    ``width`` is the stem's channels, 64 in the original.
    """
    backbone = ResNet18Backbone(width, dilated=2)
    hidden = backbone.channels // 4
    head = nn.Sequential(conv_norm_relu(backbone.channels, hidden), nn.Dropout(0.1), nn.Conv2d(hidden, classes, 1))
    return Segmenter(backbone, head)


def deeplabv3_resnet18(width: int = 64, classes: int = 21, rates: Sequence[int] = (12, 24, 36)) -> Segmenter:
    """DeepLabv3-R18 (Chen et al., 2017), untrained: (n, 3, h, w) to (n, classes, h, w).

    ``width`` is the stem's channels, 64 in the original; ``rates`` are the pyramid's dilations on a map of an eighth
    of the image's size.
    """
    backbone = ResNet18Backbone(width, dilated=2)
    hidden = 4 * width
    head = nn.Sequential(
        PyramidPooling(backbone.channels, hidden, rates), conv_norm_relu(hidden, hidden), nn.Conv2d(hidden, classes, 1)
    )
    return Segmenter(backbone, head)
