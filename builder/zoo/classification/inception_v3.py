"""Inception v3, for images of its own size or for small ones.

Szegedy, Vanhoucke, Ioffe, Shlens, Wojna, *Rethinking the Inception architecture for computer vision*, CVPR 2016. The
auxiliary classifier, which only training uses, is left out. All channels are given in units of 16, the original's
greatest common divisor; a unit is ``width`` channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn as nn
from torch import Tensor

_Layer = tuple[int, tuple[int, int]]
"""Units of output channels and the kernel's height and width."""

_ONE, _THREE, _FIVE, _ROW, _COLUMN = (1, 1), (3, 3), (5, 5), (1, 7), (7, 1)


class Branches(nn.Module):
    """Several paths from the same input, their channels side by side."""

    def __init__(self, *paths: nn.Module) -> None:
        super().__init__()
        self.paths = nn.ModuleList(paths)

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, h, w) to (n, sum of the paths' channels, height and width of every path)."""
        return torch.cat([path(x) for path in self.paths], 1)


def _conv(inputs: int, outputs: int, kernel: tuple[int, int], stride: int = 1, same: bool = True) -> nn.Sequential:
    padding = (kernel[0] // 2, kernel[1] // 2) if same else (0, 0)
    layer = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs, eps=1e-3), nn.ReLU(inplace=True))


class _Modules:
    """Makes the modules of one network; ``self.inputs`` is the channels the next one will read."""

    def __init__(self, width: int, units: int) -> None:
        self.width = width
        self.inputs = units * width

    def _path(self, *layers: _Layer, halve: bool = False) -> nn.Sequential:
        """Convolutions one after the other; with ``halve`` the last one halves the map without padding."""
        made: list[nn.Module] = []
        inputs = self.inputs
        for i, (units, kernel) in enumerate(layers):
            halves = halve and i == len(layers) - 1
            made.append(_conv(inputs, units * self.width, kernel, 2 if halves else 1, same=not halves))
            inputs = units * self.width
        return nn.Sequential(*made)

    def _pooled(self, units: int) -> nn.Sequential:
        return nn.Sequential(nn.AvgPool2d(3, 1, 1), _conv(self.inputs, units * self.width, _ONE))

    def _joined(self, paths: Sequence[nn.Module], units: int) -> Branches:
        self.inputs = units * self.width
        return Branches(*paths)

    def a(self, pooled: int) -> Branches:
        """5x5 and double 3x3 paths; the map keeps its size."""
        paths = [
            self._path((4, _ONE)),
            self._path((3, _ONE), (4, _FIVE)),
            self._path((4, _ONE), (6, _THREE), (6, _THREE)),
            self._pooled(pooled),
        ]
        return self._joined(paths, 14 + pooled)

    def b(self) -> Branches:
        """Halves the map after the A modules."""
        paths = [
            self._path((24, _THREE), halve=True),
            self._path((4, _ONE), (6, _THREE), (6, _THREE), halve=True),
            nn.MaxPool2d(3, 2),
        ]
        return self._joined(paths, 30 + self.inputs // self.width)

    def c(self, hidden: int) -> Branches:
        """7x7 paths factorised into rows and columns."""
        paths = [
            self._path((12, _ONE)),
            self._path((hidden, _ONE), (hidden, _ROW), (12, _COLUMN)),
            self._path((hidden, _ONE), (hidden, _COLUMN), (hidden, _ROW), (hidden, _COLUMN), (12, _ROW)),
            self._pooled(12),
        ]
        return self._joined(paths, 48)

    def d(self) -> Branches:
        """Halves the map after the C modules."""
        paths = [
            self._path((12, _ONE), (20, _THREE), halve=True),
            self._path((12, _ONE), (12, _ROW), (12, _COLUMN), (12, _THREE), halve=True),
            nn.MaxPool2d(3, 2),
        ]
        return self._joined(paths, 32 + self.inputs // self.width)

    def e(self) -> Branches:
        """Paths that end in a row and a column side by side."""
        paths = [
            self._path((20, _ONE)),
            nn.Sequential(self._path((24, _ONE)), self._fork()),
            nn.Sequential(self._path((28, _ONE), (24, _THREE)), self._fork()),
            self._pooled(12),
        ]
        return self._joined(paths, 128)

    def _fork(self) -> Branches:
        channels = 24 * self.width
        return Branches(_conv(channels, channels, (1, 3)), _conv(channels, channels, (3, 1)))


def _stem(width: int, small: bool) -> nn.Sequential:
    stride = 1 if small else 2
    pools = [nn.Identity() if small else nn.MaxPool2d(3, 2) for _ in range(2)]
    return nn.Sequential(
        _conv(3, 2 * width, _THREE, stride, same=small),
        _conv(2 * width, 2 * width, _THREE, same=small),
        _conv(2 * width, 4 * width, _THREE),
        pools[0],
        _conv(4 * width, 5 * width, _ONE),
        _conv(5 * width, 12 * width, _THREE, same=small),
        pools[1],
    )


def inception_v3(width: int = 16, classes: int = 10, small: bool = True) -> nn.Sequential:
    """Inception v3 (Szegedy et al., CVPR 2016), untrained: (n, 3, 32, 32), or (n, 3, 299, 299), to (n, classes).

    With ``small`` the stem neither strides nor pools. ``width`` is half the stem's channels, 16 in the original.
    """
    make = _Modules(width, 12)
    modules = [make.a(2), make.a(4), make.a(4), make.b(), make.c(8), make.c(10), make.c(10), make.c(12), make.d()]
    modules += [make.e(), make.e()]
    head = [nn.AdaptiveAvgPool2d(1), nn.Dropout(), nn.Flatten(), nn.Linear(make.inputs, classes)]
    return nn.Sequential(_stem(width, small), *modules, *head)
