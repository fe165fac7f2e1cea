"""Small networks for tests: each shows one thing the builder must get right."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor


def randomised(model: nn.Module, seed: int = 0) -> nn.Module:
    """The network in eval mode with normalisation statistics that are not those of an untrained one."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.copy_(torch.randn(module.num_features, generator=generator) * 0.2)
            module.running_var.copy_(torch.rand(module.num_features, generator=generator) + 0.5)
            module.weight.data.copy_(torch.rand(module.num_features, generator=generator) + 0.5)
            module.bias.data.copy_(torch.randn(module.num_features, generator=generator) * 0.2)
    return model.eval()


def conv(inputs: int, outputs: int, kernel: int = 3, **kwargs: object) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, **kwargs)


class PreActivation(nn.Module):
    """The shortcut reads a tensor that an in-place activation has changed: the classic silent damage."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm, self.act = conv(3, 8), nn.BatchNorm2d(8), nn.ReLU(inplace=True)
        self.a, self.b, self.head = conv(8, 16), conv(16, 8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.stem(x))
        y = self.b(self.act(self.a(self.act(x))))
        y += x
        return self.head(y.mean((2, 3)))


class Functional(nn.Module):
    """Functional calls, in-place functions, dropout and a view by size."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.head = conv(3, 8), conv(8, 12), conv(12, 8), nn.Linear(8 * 16, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.a(x), inplace=True)
        x = torch.relu_(self.b(x))
        x = F.dropout(F.max_pool2d(F.hardswish(self.c(x)), 2), training=self.training)
        return self.head(x.view(x.size(0), -1))


class Shared(nn.Module):
    """One convolution used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.twice, self.out = conv(3, 8), conv(8, 8), conv(8, 6)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.twice(F.relu(self.twice(F.relu(self.stem(x))))))
        return self.head(F.adaptive_avg_pool2d(self.out(x), 1).flatten(1))


class Gated(nn.Module):
    """Squeeze and excitation, depth-wise convolution, a residual."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.expand, self.depth = conv(3, 8), conv(8, 24, 1), conv(24, 24, groups=24)
        self.squeeze, self.excite, self.project = nn.Conv2d(24, 6, 1), nn.Conv2d(6, 24, 1), conv(24, 8, 1)
        self.norm, self.head = nn.BatchNorm2d(24), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = F.silu(self.norm(self.depth(F.silu(self.expand(x)))))
        gate = self.excite(F.relu(self.squeeze(F.adaptive_avg_pool2d(y, 1))))
        x = x + self.project(y * torch.sigmoid(gate))
        return self.head(x.mean((2, 3)))


class Branches(nn.Module):
    """Concatenation, chunk, grouped and dilated convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.a, self.b = conv(3, 8), conv(8, 8, 1), nn.Conv2d(8, 8, 3, padding=2, dilation=2)
        self.grouped, self.mixed, self.head = conv(16, 16, groups=4), conv(8, 8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        x = self.grouped(torch.cat([F.relu(self.a(x)), F.relu(self.b(x))], 1))
        left, right = x.chunk(2, 1)
        return self.head(self.mixed(left * torch.sigmoid(right)).mean((2, 3)))


class Transposed(nn.Module):
    """Down and up again, group norm, layer norm, PReLU, a linear bottleneck."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.group, self.up = nn.Conv2d(3, 16, 3, 2, 1), nn.GroupNorm(4, 16), nn.ConvTranspose2d(16, 8, 2, 2)
        self.prelu, self.out = nn.PReLU(8), conv(8, 8)
        self.first, self.norm, self.second = nn.Linear(8, 32), nn.LayerNorm(32), nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.out(self.prelu(self.up(torch.relu(self.group(self.down(x))))))
        return self.second(F.gelu(self.norm(self.first(x.mean((2, 3))))))


class Dynamic(nn.Module):
    """One odd layer whose inside depends on the data."""

    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * 2 if float(x.sum()) > 0 else x

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.odd, self.c, self.head = conv(3, 8), conv(8, 8), self.Odd(), conv(8, 8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.odd(F.relu(self.b(F.relu(self.a(x)))))
        return self.head(F.relu(self.c(x)).mean((2, 3)))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "pre-activation": PreActivation,
    "functional": Functional,
    "shared": Shared,
    "gated": Gated,
    "branches": Branches,
    "transposed": Transposed,
    "dynamic": Dynamic,
}
"""Networks for images (n, 3, 8, 8) with 4 classes."""


def network(name: str) -> nn.Module:
    """One of `NETWORKS`, seeded, in eval mode."""
    torch.manual_seed(0)
    return randomised(NETWORKS[name]())


def images(count: int = 2, size: int = 8, seed: int = 1) -> Tensor:
    """Random images (count, 3, size, size)."""
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))
