"""Networks that score how unusual an image is.

Akcay, Atapour-Abarghouei, Breckon, *GANomaly: semi-supervised anomaly detection via adversarial training*, ACCV 2018;
Pang, Yan, Shen, van den Hengel, Bai, *Self-trained deep ordinal regression for end-to-end video anomaly detection*,
CVPR 2020.
"""

from __future__ import annotations

import torch.nn as nn
from torch import Tensor

from legodnn.builder.graph.tracing.opaque import Opaque
from legodnn.builder.zoo.common.resnet import ResNet18Backbone


def _halvings(size: int) -> int:
    """How often an image of ``size`` is halved to reach 4x4."""
    halvings = size.bit_length() - 3
    if size < 8 or size != 4 << halvings:
        raise ValueError(f"size {size}: a power of two from 8 on expected")
    return halvings


def _down(size: int, width: int) -> tuple[nn.Sequential, int]:
    """(n, 3, size, size) to (n, channels, 4, 4), and how many channels these are."""
    layers: list[nn.Module] = [nn.Conv2d(3, width, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, inplace=True)]
    channels = width
    for _ in range(_halvings(size) - 1):
        layers += [
            nn.Conv2d(channels, 2 * channels, 4, 2, 1, bias=False),
            nn.BatchNorm2d(2 * channels),
            nn.LeakyReLU(0.2, inplace=True),
        ]
        channels *= 2
    return nn.Sequential(*layers), channels


def _encoder(size: int, width: int, code: int) -> nn.Sequential:
    """(n, 3, size, size) to (n, code, 1, 1)."""
    down, channels = _down(size, width)
    return nn.Sequential(*down, nn.Conv2d(channels, code, 4, bias=False))


def _decoder(size: int, width: int, code: int) -> nn.Sequential:
    """(n, code, 1, 1) to (n, 3, size, size), from -1 to 1."""
    channels = width << (_halvings(size) - 1)
    layers: list[nn.Module] = [
        nn.ConvTranspose2d(code, channels, 4, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
    ]
    while channels > width:
        layers += [
            nn.ConvTranspose2d(channels, channels // 2, 4, 2, 1, bias=False),
            nn.BatchNorm2d(channels // 2),
            nn.ReLU(inplace=True),
        ]
        channels //= 2
    return nn.Sequential(*layers, nn.ConvTranspose2d(width, 3, 4, 2, 1, bias=False), nn.Tanh())


class CodeDistance(Opaque):
    """The mean squared difference of two codes.

    The codes are nearly equal, so that a small change of both can change it much; networks are compared by the codes.
    """

    def forward(self, code: Tensor, second: Tensor) -> Tensor:
        """Codes (n, code, 1, 1) to scores (n, 1)."""
        return (code - second).square().flatten(1).mean(1, keepdim=True)


class GANomaly(nn.Module):
    """Encodes an image, decodes it, and encodes the result; the score is how far apart the two codes are."""

    def __init__(self, size: int, width: int, code: int) -> None:
        super().__init__()
        self.encoder = _encoder(size, width, code)
        self.decoder = _decoder(size, width, code)
        self.second_encoder = _encoder(size, width, code)
        self.distance = CodeDistance()

    def reconstruct(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """For training: the image made again (n, 3, size, size), and the codes (n, code, 1, 1) of both images."""
        code = self.encoder(x)
        again = self.decoder(code)
        return again, code, self.second_encoder(again)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 3, size, size) to scores (n, 1): the mean squared difference of the codes."""
        _, code, second = self.reconstruct(x)
        scores: Tensor = self.distance(code, second)
        return scores


class Discriminator(nn.Module):
    """Tells images from reconstructions while `GANomaly` is trained."""

    def __init__(self, size: int = 32, width: int = 64) -> None:
        super().__init__()
        self.features, channels = _down(size, width)
        self.head = nn.Conv2d(channels, 1, 4, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(n, 3, size, size) to logits (n, 1), high for images, and the features (n, channels, 4, 4) to be matched."""
        features = self.features(x)
        return self.head(features).flatten(1), features


def ganomaly(size: int = 32, width: int = 64, code: int = 100) -> GANomaly:
    """GANomaly (Akcay et al., ACCV 2018), untrained: (n, 3, size, size), from -1 to 1, to scores (n, 1).

    ``size`` is a power of two from 8 on, ``width`` the channels after the first convolution, ``code`` the length of
    the codes.
    """
    return GANomaly(size, width, code)


class OrdinalRegressor(nn.Module):
    """A backbone, a hidden layer and one score, trained towards 1 for abnormal and 0 for normal frames."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.trunk = ResNet18Backbone(width)
        self.head = nn.Sequential(nn.Linear(self.trunk.channels, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(n, 3, h, w) to scores (n, 1)."""
        scores: Tensor = self.head(self.trunk(x).mean((2, 3)))
        return scores


def ordinal_regression(width: int = 64, hidden: int = 100) -> OrdinalRegressor:
    """Ordinal regression (Pang et al., CVPR 2020) on ResNet-18, untrained: frames (n, 3, h, w) to scores (n, 1).

    ``width`` is the channels of the backbone's stem, 64 in the original.
    """
    return OrdinalRegressor(width, hidden)
