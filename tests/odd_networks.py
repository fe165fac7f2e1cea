"""Modules as people write them: each shows one habit that a tracer may stumble over.

Most are *odd parts*: they take and return images (n, 8, 8, 8) and sit in the middle of `Around`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from torchvision.ops import StochasticDepth

from tests.networks import conv
from tests.odd_weights import ComputedWeights, Containers, SizeBuffers, Tied


class Around(nn.Module):
    """Layers that can be pruned before and after an odd part."""

    def __init__(self, odd: nn.Module, width: int = 8) -> None:
        super().__init__()
        self.before = nn.Sequential(conv(3, 12), nn.BatchNorm2d(12), nn.ReLU(), conv(12, 8), nn.ReLU())
        self.odd = odd
        self.after = nn.Sequential(conv(width, 12), nn.BatchNorm2d(12), nn.ReLU(), conv(12, 8), nn.ReLU())
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.after(self.odd(self.before(x))).mean((2, 3)))


# ---- what the code does -------------------------------------------------------------------------------------------
class DataDependent(nn.Module):
    """Only the innermost module asks for the data."""

    class Inner(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * 2 if float(x.sum()) > 0 else x

    def __init__(self) -> None:
        super().__init__()
        self.first, self.inner, self.last = conv(8, 8), self.Inner(), conv(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.inner(self.first(x)))


class DataDependentConv(nn.Conv2d):
    """A layer of torch's with a condition of its own: its weights are not what the analysis would take them for."""

    def __init__(self) -> None:
        super().__init__(8, 8, 3)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight if float(x.abs().max()) > 1e9 else self.weight.flip(0)
        return F.conv2d(x, weight, self.bias, padding=1)


class Shapes(nn.Module):
    """Loops over sizes, asserts, warns and formats them, asks for types."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(conv(4, 4) for _ in range(2))
        self.seen = ""

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        assert c == 8, f"8 channels wanted, {c} given"
        assert x.dim() == 4
        assert x.size(-1) == w
        if not isinstance(x, Tensor) or not torch.is_tensor(x):
            raise TypeError("a tensor is wanted")
        warnings.warn(f"an image of {h} x {w}: {x.shape}", stacklevel=1)
        self.seen = f"{n} images of {h} x {w}: {x.shape}"
        parts = [self.layers[i](x[:, 4 * i : 4 * i + 4]) for i in range(c // 4)]
        while h > 2:
            h //= 2
        return torch.cat(parts, 1).reshape(n, c, -1).view(n, c, w, -1) * h


class BatchLoop(nn.Module):
    """One image after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = conv(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.layer(x[i : i + 1]) for i in range(x.shape[0])])


class Printing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        print("an image of", tuple(x.shape[1:]), "and", x.shape[0], "in all")
        return x + 1


class Counting(nn.Module):
    """Attributes, plain and tensors, that change with every call."""

    def __init__(self) -> None:
        super().__init__()
        self.calls, self.kept = 0, None
        self.register_buffer("steps", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.steps += 1
        self.kept = x
        return x * self.steps


class InPlaceViews(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        x = x.clone()
        x[:, :4].mul_(2.0)
        x[:, 4:] += 1
        x.clamp_(min=0).sub_(0.5)
        return x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)


class Ignored(nn.Module):
    """Helpers that TorchScript is told to leave alone."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = conv(8, 8)

    @torch.jit.ignore
    def helper(self, x: Tensor) -> Tensor:
        return torch.tanh(self.layer(x))

    @torch.jit.unused
    def other(self, x: Tensor) -> Tensor:
        return x * 0.5

    @torch.jit.export
    def third(self, x: Tensor) -> Tensor:
        return x + 1

    def forward(self, x: Tensor) -> Tensor:
        if torch.jit.is_scripting():
            return x
        return self.third(self.other(self.helper(x)))


class Modes(nn.Module):
    """Gradients and precisions switched inside."""

    def __init__(self, autocast: bool = False) -> None:
        super().__init__()
        self.layer, self.autocast = conv(8, 8), autocast

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            scale = x.mean((2, 3), keepdim=True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.autocast):
            x = self.layer(x)
        with torch.enable_grad():
            return x.float() * torch.sigmoid(scale.detach())


class Checkpointed(nn.Module):
    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.first, self.second, self.reentrant = conv(8, 12), conv(12, 8), reentrant

    def forward(self, x: Tensor) -> Tensor:
        return checkpoint(lambda y: self.second(F.relu(self.first(y))), x, use_reentrant=self.reentrant)


class _Swish(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        ctx.scale = 1.0
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        raise NotImplementedError


class _Doubled(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, factor: float) -> Tensor:
        return x * factor

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.factor = inputs[1]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        raise NotImplementedError


class OwnGradient(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = conv(8, 12), conv(12, 8)

    def forward(self, x: Tensor) -> Tensor:
        return _Doubled.apply(self.second(_swish(self.first(x))), 2.0)


_swish = _Swish.apply


@torch.jit.script
def scripted_swish(x: Tensor) -> Tensor:
    return x * torch.sigmoid(x)


class Functions(nn.Module):
    """An activation that is more than a function of Python: ``swish`` is called between two layers."""

    def __init__(self, swish: Callable[[Tensor], Tensor] = scripted_swish) -> None:
        super().__init__()
        self.first, self.second, self.swish = conv(8, 12), conv(12, 8), swish

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.swish(self.first(x)))


class OnTheSpot(nn.Module):
    """Layers made in the forward, and layers in a list that torch does not see."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = [conv(8, 12), conv(12, 8)]

    def forward(self, x: Tensor) -> Tensor:
        return nn.Softmax(dim=1)(self.layers[1](nn.ReLU(inplace=True)(self.layers[0](x))))


class Base(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = conv(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


class Derived(Base):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).relu() + x


class ChannelShuffle(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = conv(8, 16, groups=2), conv(16, 8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        n, c, h, w = x.size()
        x = x.view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, -1, h, w)
        return self.second(x)


class Residual(nn.Module):
    """Stochastic depth, written by hand and torchvision's."""

    class DropPath(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            if not self.training:
                return x
            return x * torch.empty(x.shape[0], *[1] * (x.ndim - 1)).bernoulli_(0.5)

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = conv(8, 12), conv(12, 8)
        self.drop, self.depth = self.DropPath(), StochasticDepth(0.3, "row")

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop(self.second(F.relu(self.first(x))))
        return x + self.depth(self.second(F.relu(self.first(x))))


PARTS: Mapping[str, Callable[[], nn.Module]] = {
    "sizes looked at": Shapes,
    "prints": Printing,
    "counts": Counting,
    "changes views": InPlaceViews,
    "ignored helpers": Ignored,
    "gradients off and on": Modes,
    "checkpoint, reentrant": lambda: Checkpointed(True),
    "checkpoint": lambda: Checkpointed(False),
    "own gradient": OwnGradient,
    "scripted function": Functions,
    "layers on the spot": OnTheSpot,
    "forward of its base": Derived,
    "containers of weights": Containers,
    "channel shuffle": ChannelShuffle,
    "stochastic depth": Residual,
    "computed weights": ComputedWeights,
    "grid for the size": SizeBuffers,
    "tied weights": Tied,
}
"""Parts of a network that are followed to the last operation."""
