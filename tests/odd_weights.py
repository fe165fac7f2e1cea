"""Weights as people keep and compute them: parts like those of `odd_networks`."""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from tests.networks import conv


class Containers(nn.Module):
    """Parameters and modules in lists and dictionaries."""

    def __init__(self) -> None:
        super().__init__()
        self.scales = nn.ParameterList([nn.Parameter(torch.rand(8, 1, 1) + 0.5) for _ in range(2)])
        self.shifts = nn.ParameterDict({"a": nn.Parameter(torch.randn(1, 8, 1, 1))})
        self.layers = nn.ModuleDict({"up": conv(8, 12), "down": conv(12, 8)})
        self.plain = torch.tensor(0.5)

    def forward(self, x: Tensor) -> Tensor:
        for scale in self.scales:
            x = x * scale
        for layer in self.layers.values():
            x = F.relu(layer(x))
        return (x + self.shifts["a"]) * self.plain


class StandardisedConv(nn.Conv2d):
    """Weight standardisation (Qiao et al. 2019)."""

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        weight = weight / (weight.flatten(1).std(1).view(-1, 1, 1, 1) + 1e-5)
        return F.conv2d(x, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class ScaledConv(nn.Conv2d):
    """Scaled weight standardisation with a gain (Brock et al. 2021), through batch normalisation of the weight."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3, padding=1)
        self.gain = nn.Parameter(torch.rand(outputs, 1, 1, 1) + 0.5)
        self.scale = (inputs * 9) ** -0.5

    def forward(self, x: Tensor) -> Tensor:
        flat = self.weight.reshape(1, self.out_channels, -1)
        gain = (self.gain * self.scale).view(-1)
        weight = F.batch_norm(flat, None, None, weight=gain, training=True, momentum=0.0, eps=1e-6)
        return F.conv2d(x, weight.reshape_as(self.weight), self.bias, self.stride, self.padding)


class HiddenConv(nn.Conv2d):
    """The forward is torch's, but what it calls is not."""

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        weight = weight / weight.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        return super()._conv_forward(x, weight, bias)


class EqualisedLinear(nn.Linear):
    """Equalised learning rate (Karras et al. 2018)."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * (2 / self.in_features) ** 0.5, self.bias)


class ComputedWeights(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = StandardisedConv(8, 12, 3, padding=1), nn.BatchNorm2d(12)
        self.second, self.third, self.hidden = ScaledConv(12, 16), HiddenConv(16, 12, 3, padding=1), nn.BatchNorm2d(12)
        self.mix, self.back = EqualisedLinear(12, 16), EqualisedLinear(16, 8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.hidden(self.third(F.relu(self.second(F.relu(self.norm(self.first(x)))))))
        return self.back(F.gelu(self.mix(x.permute(0, 2, 3, 1)))).permute(0, 3, 1, 2)


class SizeBuffers(nn.Module):
    """A grid made for the input's size and kept, and an embedding stretched to it."""

    def __init__(self) -> None:
        super().__init__()
        self.grid: Tensor | None = None
        self.position = nn.Parameter(torch.randn(1, 8, 4, 4))
        self.first, self.second = conv(10, 12), conv(12, 8)

    def forward(self, x: Tensor) -> Tensor:
        if self.grid is None or self.grid.shape[-2:] != x.shape[-2:]:
            h, w = x.shape[-2:]
            ys, xs = torch.meshgrid(torch.linspace(-1, 1, h), torch.linspace(-1, 1, w), indexing="ij")
            self.grid = torch.stack([ys, xs])[None]
        x = x + F.interpolate(self.position, size=x.shape[-2:], mode="bilinear", align_corners=False)
        x = torch.cat([x, self.grid.expand(x.shape[0], -1, -1, -1)], 1)
        return self.second(F.relu(self.first(x)))


class Tied(nn.Module):
    """Pairs of layers that hold one weight between them."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = conv(8, 12), conv(12, 8)
        self.a, self.middle, self.b = (conv(12, 12) for _ in range(3))
        self.b.weight = self.a.weight
        self.encode, self.decode = nn.Linear(8, 16), nn.Linear(16, 8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.down(F.relu(self.b(F.relu(self.middle(F.relu(self.a(F.relu(self.up(x)))))))))
        code = F.relu(self.encode(x.permute(0, 2, 3, 1)))
        decoded = F.relu(self.decode(code) + F.linear(code, self.encode.weight.t()))
        return F.linear(decoded, torch.eye(8)).permute(0, 3, 1, 2)
