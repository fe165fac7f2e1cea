"""Wide residual networks for small images, with activation before convolution.

Zagoruyko, Komodakis, *Wide residual networks*, BMVC 2016; the order within blocks is that of He, Zhang, Ren, Sun,
*Identity mappings in deep residual networks*, ECCV 2016.
"""

from __future__ import annotations

import torch.nn as nn
from torch import Tensor

from legodnn.builder.zoo.common.layers import pooled_linear


class PreActivated(nn.Module):
    """``body`` on the normalised, activated input, beside a shortcut.

    Where input and output have one shape the shortcut is the input itself, else a 1x1 convolution of the activated one.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, body: nn.Module) -> None:
        super().__init__()
        self.before = norm_relu(inputs)
        self.body = body
        same = stride == 1 and inputs == outputs
        self.shortcut = None if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, h, w) to (n, outputs, h / stride, w / stride)."""
        y = self.before(x)
        total: Tensor = self.body(y) + (x if self.shortcut is None else self.shortcut(y))
        return total


def norm_relu(channels: int) -> nn.Sequential:
    """Batch norm and ReLU: (n, channels, h, w) to the same shape."""
    return nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(inplace=True))


def _block(inputs: int, outputs: int, stride: int, dropout: float) -> PreActivated:
    body = nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
        norm_relu(outputs),
        nn.Dropout(dropout),
        nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
    )
    return PreActivated(inputs, outputs, stride, body)


def wide_resnet(depth: int = 28, widen: int = 10, classes: int = 10, dropout: float = 0.0) -> nn.Sequential:
    """WRN-depth-widen (Zagoruyko, Komodakis, BMVC 2016), untrained: (n, 3, 32, 32) to (n, classes).

    ``depth`` is 4 more than a multiple of 6; the three groups have 16, 32 and 64 times ``widen`` channels.
    """
    if depth < 10 or depth % 6 != 4:
        raise ValueError(f"depth {depth}: 10, 16, 22, 28 and so on expected")
    layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, 1, 1, bias=False)]
    inputs = 16
    for group in range(3):
        outputs = 16 * widen << group
        for block in range((depth - 4) // 6):
            layers.append(_block(inputs, outputs, 2 if group > 0 and block == 0 else 1, dropout))
            inputs = outputs
    return nn.Sequential(*layers, norm_relu(inputs), pooled_linear(inputs, classes))
