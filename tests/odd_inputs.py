"""Networks that take and return more than a tensor."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn as nn
from torch import Tensor

from tests.odd_networks import Around


class Pair(NamedTuple):
    logits: Tensor
    features: Tensor


@dataclass
class Answer:
    logits: Tensor
    features: Tensor
    loss: Tensor | None = None


OUTPUTS: Mapping[str, Callable[[Tensor, Tensor], Any]] = {
    "tuple": lambda a, b: (a, b),
    "list": lambda a, b: [a, b],
    "dict": lambda a, b: {"logits": a, "features": b},
    "ordered": lambda a, b: OrderedDict(logits=a, features=b),
    "nested": lambda a, b: {"logits": a, "more": [b, (a, b)]},
    "named": Pair,
    "dataclass": Answer,
    "none": lambda a, b: {"logits": a, "features": b, "loss": None},
}


class Returns(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.inner, self.kind = Around(nn.Identity()), kind

    def forward(self, x: Tensor) -> Any:
        features = self.inner.before(x)
        return OUTPUTS[self.kind](self.inner.head(self.inner.after(features).mean((2, 3))), features)


class Takes(nn.Module):
    """Two images, options, and whatever else comes."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.head = Around(nn.Identity()), Around(nn.Identity()), nn.Linear(16, 4)

    def forward(self, x: Tensor, y: Tensor, scale: float = 2, *args: Any, flip: bool = False, **kwargs: Any) -> Tensor:
        if flip or args or kwargs:
            raise ValueError("not asked for")
        x, y = (part.after(part.before(z)) for part, z in ((self.left, x * scale), (self.right, y)))
        return self.head(torch.cat([x, y], 1).mean((2, 3)))


class TakesAny(Takes):
    def forward(self, *args: Tensor, **kwargs: Any) -> Tensor:
        return super().forward(*args, **kwargs)


class TakesList(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = Around(nn.Identity())

    def forward(self, images: list[Tensor]) -> Tensor:
        return self.inner(torch.stack([image * 2 for image in images]))
