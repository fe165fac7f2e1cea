"""Networks put together at random from what real ones are made of.

What is made is decided by ``pick``, which picks one of several options: hypothesis, whose failures shrink (the first
option is the plainest), or a seeded one.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from tests.random_pieces import PIECES, SIZE, WIDTHS, Call, Made, Pick, conv, normalisation

Holder = Callable[[Pick, int, int], Made]
"""Makes a piece that holds others for so many channels; the last number says how deep pieces in it may nest."""

HOLDERS: dict[str, Holder] = {}


def holder(maker: Holder) -> Holder:
    """Register a piece that holds others."""
    HOLDERS[maker.__name__.strip("_")] = maker
    return maker


REWRITTEN = ("fused", "multi-head")
"""Pieces that tracing writes in other operators, which round differently."""


def sequence(pick: Pick, channels: int, depth: int, lengths: Sequence[int] = (1, 2, 3)) -> Made:
    """Several pieces in a row."""
    parts = []
    for _ in range(pick(lengths)):
        kind = pick([*PIECES, *(HOLDERS if depth else ())])
        part, channels = PIECES[kind](pick, channels) if kind in PIECES else HOLDERS[kind](pick, channels, depth - 1)
        parts.append(part)
    return nn.Sequential(*parts), channels


def network(pick: Pick) -> nn.Module:
    """A network for images (n, 3, 8, 8) in eval mode."""
    torch.manual_seed(0)
    body, channels = sequence(pick, 8, 2, (1, 2, 3, 4, 5))
    head = HEADS[pick(list(HEADS))](channels)
    return finished(nn.Sequential(conv(3, 8, 3), Call("relu", F.relu), body, head))


def seeded(seed: int) -> nn.Module:
    """The network of a seed."""
    return network(random.Random(seed).choice)


def around(kind: str, pick: Pick) -> nn.Module:
    """A plain network around one piece."""
    torch.manual_seed(0)
    piece, channels = PIECES[kind](pick, 8) if kind in PIECES else HOLDERS[kind](pick, 8, 0)
    layers = conv(3, 8, 3), nn.ReLU(), conv(8, 8), piece, conv(channels, 6, 3), nn.ReLU(), HEADS["mean"](6)
    return finished(nn.Sequential(*layers))


def one_by_one(make: Callable[[Pick], nn.Module], places: int | None = None) -> Iterator[nn.Module]:
    """What is made of the first options everywhere, then of one other option in one place (of so many) at a time."""
    counts: list[int] = []

    def first(options: Sequence[Any]) -> Any:
        counts.append(len(options))
        return options[0]

    yield make(first)
    for place, count in enumerate(counts[:places]):
        for choice in range(1, count):
            yield make(_other_option(place, choice))


def _other_option(place: int, choice: int) -> Pick:
    """Picks the first option everywhere but in one place."""
    at = itertools.count()
    return lambda options: options[choice if next(at) == place else 0]


def finished(model: nn.Module) -> nn.Module:
    """The network in eval mode, its normalisations not those of an untrained one."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 1.5)
        if isinstance(module, nn.BatchNorm2d | nn.InstanceNorm2d | nn.GroupNorm | nn.LayerNorm):
            for weights in module.parameters(recurse=False):
                nn.init.uniform_(weights, 0.5, 1.5)
    return model.eval().requires_grad_(False)


HEADS: dict[str, Callable[[int], nn.Module]] = {
    "mean": lambda c: Call("mean", lambda x, f: f(x.mean((2, 3))), nn.Linear(c, 4)),
    "mean by names": lambda c: Call("mean", lambda x, f: f(torch.mean(x, axis=(2, 3), keepdims=True)), conv(c, 4)),
    "mean of the last": lambda c: Call(
        "mean", lambda x, f: f(x.permute(0, 2, 3, 1).mean(axis=(1, 2), keepdims=True)), nn.Linear(c, 4)
    ),
    "flat": lambda c: Call("flat", lambda x, f: f(torch.flatten(x, 1)), nn.Linear(c * SIZE**2, 4)),
    "view": lambda c: Call(
        "view", lambda x, f: f(F.max_pool2d(x, 4).contiguous().view(-1, c * 4)), nn.Linear(c * 4, 4)
    ),
    "pool": lambda c: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(c, 8), nn.ReLU(), nn.Linear(8, 4)),
    "dense": lambda c: conv(c, 5),
    "several": lambda c: Call("several", lambda x, f: (x.amax((2, 3)), {"map": f(x)}), conv(c, 5)),
}


# ---- pieces that hold others ----------------------------------------------------------------------------------------
def _changed_shortcut(x: Tensor, inside: nn.Module, last: nn.Module) -> Tensor:
    y = last(inside(x.relu_()))
    y += x
    return y


SHORTCUTS: dict[str, Callable[..., Tensor]] = {
    "plain": lambda x, inside, last: x + last(inside(x)),
    "added in place": lambda x, inside, last: last(inside(x)).add_(x),
    "changed before": lambda x, inside, last: _changed_shortcut(x + 0, inside, last),
    "product": lambda x, inside, last: x * torch.sigmoid(last(inside(x))),
    "larger": lambda x, inside, last: torch.maximum(x, last(inside(x))),
    "between": lambda x, inside, last: torch.lerp(x, last(inside(x)), 0.3),
    "chosen": lambda x, inside, last: torch.where(x > 0.2, x, last(inside(x))),
    "scaled": lambda x, inside, last: x + last(inside(x)) / (1 + x.abs()),
}


@holder
def _residual(pick: Pick, channels: int, depth: int) -> Made:
    name = pick(list(SHORTCUTS))
    inside, width = sequence(pick, channels, depth)
    return Call(name, SHORTCUTS[name], inside, conv(width, channels)), channels


@holder
def _partial_residual(pick: Pick, channels: int, depth: int) -> Made:
    inside, width = sequence(pick, 4, depth, (1, 2))
    inside = nn.Sequential(conv(channels // 2, 4), inside)

    def function(x: Tensor, f: nn.Module, g: nn.Module) -> Tensor:
        a, b = x.split([channels // 2, channels - channels // 2], 1)
        return torch.cat([g(f(a)), b], 1)

    return Call("partial", function, inside, conv(width, channels // 2)), channels


JOINS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "added": lambda a, b: a + b,
    "in place": lambda a, b: a.clone().mul_(b),
    "side by side": lambda a, b: F.max_pool2d(torch.cat([a, b], 3), (1, 2)),
    "stacked": lambda a, b: torch.stack([a, b], 1).sum(1),
    "chosen": lambda a, b: torch.stack([a, b]).amax(0),
    "selected": lambda a, b: _selected(torch.stack([a, b], 1)),
}


def _selected(both: Tensor) -> Tensor:
    return (both * both.mean((3, 4), keepdim=True).softmax(1)).sum(1)


@holder
def _branches(pick: Pick, channels: int, depth: int) -> Made:
    kind = pick(("cat", *JOINS))
    (left, a), (right, b) = sequence(pick, channels, depth), sequence(pick, channels, depth, (1, 2))
    if kind == "cat":
        return Call("cat", lambda x, f, g: torch.cat([f(x), g(x)], 1), left, right), a + b
    width = pick(WIDTHS)
    parts = nn.Sequential(left, conv(a, width)), nn.Sequential(right, conv(b, width))
    return Call(kind, lambda x, f, g: JOINS[kind](f(x), g(x)), *parts), width


@holder
def _cat_and_sum(pick: Pick, channels: int, depth: int) -> Made:
    (left, a), (right, b) = sequence(pick, channels, depth, (1, 2)), sequence(pick, channels, depth, (1,))
    both = nn.Sequential(conv(channels, a + b), normalisation(pick, a + b))
    parts = nn.Sequential(left, conv(a, a)), nn.Sequential(right, conv(b, b)), both
    return Call("cat and sum", lambda x, f, g, h: torch.cat([f(x), g(x)], 1) + h(x), *parts), a + b
