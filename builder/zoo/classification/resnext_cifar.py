"""ResNeXt-29 for small images: bottlenecks whose middle convolution works on groups of channels.

Xie, Girshick, Dollár, Tu, He, *Aggregated residual transformations for deep neural networks*, CVPR 2017.
"""

from __future__ import annotations

import torch.nn as nn

from legodnn.builder.zoo.common.layers import conv_norm, conv_norm_relu, pooled_linear
from legodnn.builder.zoo.common.resnet import Residual


def _grouped_bottleneck(inputs: int, hidden: int, outputs: int, stride: int, cardinality: int) -> Residual:
    """1x1, grouped 3x3 and 1x1 convolution beside a shortcut; ``hidden`` is the channels of all groups together."""
    body = nn.Sequential(
        conv_norm_relu(inputs, hidden, 1),
        conv_norm_relu(hidden, hidden, 3, stride, groups=cardinality),
        conv_norm(hidden, outputs, 1),
    )
    return Residual(body, inputs, outputs, stride)


def resnext29(cardinality: int = 8, width: int = 64, stem: int = 64, classes: int = 10) -> nn.Sequential:
    """ResNeXt-29 (Xie et al., CVPR 2017), untrained: (n, 3, 32, 32) to (n, classes).

    ``cardinality`` groups of ``width`` channels in the first stage, twice as wide in each that follows; ``stem`` is
    the stem's channels, a quarter of those between the blocks of the first stage.
    """
    layers: list[nn.Module] = [conv_norm_relu(3, stem)]
    inputs = stem
    for stage in range(3):
        hidden, outputs = cardinality * width << stage, 4 * stem << stage
        for block in range(3):
            stride = 2 if stage > 0 and block == 0 else 1
            layers.append(_grouped_bottleneck(inputs, hidden, outputs, stride, cardinality))
            inputs = outputs
    return nn.Sequential(*layers, pooled_linear(inputs, classes))
