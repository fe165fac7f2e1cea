"""R3D-18: action recognition by 3-D convolutions.

Tran, Wang, Torresani, Ray, LeCun, Paluri, *A closer look at spatiotemporal convolutions for action recognition*, CVPR
2018.
"""

from __future__ import annotations

import torch.nn as nn
from torch import Tensor

Size = tuple[int, int, int]


def _conv_norm(inputs: int, outputs: int, kernel: Size, stride: Size) -> nn.Sequential:
    padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
    return nn.Sequential(
        nn.Conv3d(inputs, outputs, kernel, stride, padding, bias=False), nn.BatchNorm3d(outputs)
    )


class Residual3d(nn.Module):
    """Two 3x3x3 convolutions beside a shortcut; ``stride`` halves time, height and width."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        steps = (stride, stride, stride)
        self.body = nn.Sequential(
            _conv_norm(inputs, outputs, (3, 3, 3), steps),
            nn.ReLU(inplace=True),
            _conv_norm(outputs, outputs, (3, 3, 3), (1, 1, 1)),
        )
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else _conv_norm(inputs, outputs, (1, 1, 1), steps)
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, t, h, w) to (n, outputs, t / stride, h / stride, w / stride)."""
        y: Tensor = self.activation(self.body(x) + self.shortcut(x))
        return y


class R3D(nn.Module):
    """Stem, four stages of two residual blocks, the mean over everything, and a linear layer."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(_conv_norm(3, width, (3, 7, 7), (1, 2, 2)), nn.ReLU(inplace=True))
        stages, inputs = [], width
        for stage in range(4):
            outputs = width << stage
            stages.append(Residual3d(inputs, outputs, 1 if stage == 0 else 2))
            stages.append(Residual3d(outputs, outputs))
            inputs = outputs
        self.stages = nn.Sequential(*stages)
        self.head = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 3, t, h, w) to scores (n, classes)."""
        scores: Tensor = self.head(self.stages(self.stem(x)).mean((2, 3, 4)))
        return scores


def r3d_18(width: int = 64, classes: int = 400) -> R3D:
    """R3D-18 (Tran et al., CVPR 2018), untrained: clips (n, 3, frames, h, w) to scores (n, classes).

    ``width`` is the stem's channels, 64 in the original.
    """
    return R3D(width, classes)
