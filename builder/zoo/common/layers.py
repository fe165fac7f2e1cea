"""Pieces that several networks of the zoo are made of."""

from __future__ import annotations

import torch.nn as nn


def conv_norm(
    inputs: int,
    outputs: int,
    kernel: int = 3,
    stride: int = 1,
    *,
    dilation: int = 1,
    groups: int = 1,
    activation: nn.Module | None = None,
) -> nn.Sequential:
    """Convolution, batch norm and ``activation``: (n, inputs, h, w) to (n, outputs, h / stride, w / stride)."""
    padding = dilation * (kernel // 2)
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*layers, *([] if activation is None else [activation]))


def conv_norm_relu(
    inputs: int, outputs: int, kernel: int = 3, stride: int = 1, *, dilation: int = 1, groups: int = 1
) -> nn.Sequential:
    """`conv_norm` with a ReLU."""
    relu = nn.ReLU(inplace=True)
    return conv_norm(inputs, outputs, kernel, stride, dilation=dilation, groups=groups, activation=relu)


def pooled_linear(inputs: int, outputs: int) -> nn.Sequential:
    """Mean over all positions, then a linear layer: (n, inputs, h, w) to (n, outputs)."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, outputs))
