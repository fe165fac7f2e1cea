"""VGG for small images, with batch norm and one linear layer.

Simonyan, Zisserman, *Very deep convolutional networks for large-scale image recognition*, ICLR 2015.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn as nn

from legodnn.builder.zoo.common.layers import conv_norm_relu, pooled_linear


def _vgg(convolutions: Sequence[int], width: int, classes: int) -> nn.Sequential:
    """``convolutions`` counts those of each stage; every stage ends by halving the image."""
    layers: list[nn.Module] = []
    inputs = 3
    for stage, count in enumerate(convolutions):
        outputs = width << min(stage, 3)
        for _ in range(count):
            layers.append(conv_norm_relu(inputs, outputs))
            inputs = outputs
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, pooled_linear(inputs, classes))


def vgg11(width: int = 64, classes: int = 10) -> nn.Sequential:
    """VGG-11 (Simonyan, Zisserman, ICLR 2015), untrained: (n, 3, 32, 32) to (n, classes).

    ``width`` is the channels of the first stage, 64 in the original.
    """
    return _vgg((1, 1, 2, 2, 2), width, classes)


def vgg13(width: int = 64, classes: int = 10) -> nn.Sequential:
    """VGG-13, as `vgg11`."""
    return _vgg((2, 2, 2, 2, 2), width, classes)


def vgg16(width: int = 64, classes: int = 10) -> nn.Sequential:
    """VGG-16, as `vgg11`."""
    return _vgg((2, 2, 3, 3, 3), width, classes)


def vgg19(width: int = 64, classes: int = 10) -> nn.Sequential:
    """VGG-19, as `vgg11`."""
    return _vgg((2, 2, 4, 4, 4), width, classes)
