"""SE-ResNet-18 for small images: each residual is scaled channel by channel from what the whole image shows.

Hu, Shen, Sun, *Squeeze-and-excitation networks*, CVPR 2018.
"""

from __future__ import annotations

import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from legodnn.builder.zoo.common.layers import conv_norm_relu, pooled_linear
from legodnn.builder.zoo.common.resnet import residual_stages


class SqueezeExcite(nn.Module):
    """A factor in (0, 1) for each channel, computed from the means of all channels."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.squeeze = nn.Conv2d(channels, hidden, 1)
        self.excite = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, h, w) to the same shape."""
        hidden = F.relu(self.squeeze(x.mean((2, 3), keepdim=True)))
        logits: Tensor = self.excite(hidden)
        return x * logits.sigmoid()


def se_resnet18(width: int = 64, classes: int = 10) -> nn.Sequential:
    """SE-ResNet-18 (Hu et al., CVPR 2018), untrained: (n, 3, 32, 32) to (n, classes).

    ``width`` is the stem's channels, 64 in the original.
    """
    stages = residual_stages(width, gate=SqueezeExcite)
    return nn.Sequential(conv_norm_relu(3, width), *stages, pooled_linear(8 * width, classes))
