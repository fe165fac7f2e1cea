"""Pieces of networks for images, each in all the ways it is written.

Every piece takes images (n, channels, 8, 8) to images of the same size. What is made is decided by ``pick``, which
picks one of several options.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

SIZE = 8
WIDTHS = (8, 4, 6, 12)

Pick = Callable[[Sequence[Any]], Any]
Made = tuple[nn.Module, int]
"""A piece and the number of channels it makes."""
Maker = Callable[[Pick, int], Made]
"""Makes a piece for so many channels."""

PIECES: dict[str, Maker] = {}
"""The pieces that hold no others, by name."""


def piece(maker: Maker) -> Maker:
    """Register a piece that holds no others."""
    PIECES[maker.__name__.strip("_")] = maker
    return maker


class Call(nn.Module):
    """A function of an image and of other modules and weights, as a module."""

    def __init__(self, name: str, function: Callable[..., Tensor], *parts: nn.Module | nn.Parameter) -> None:
        super().__init__()
        self.name, self.function, self.count = name, function, len(parts)
        for i, part in enumerate(parts):
            setattr(self, f"part{i}", part)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, *[getattr(self, f"part{i}") for i in range(self.count)])

    def extra_repr(self) -> str:
        return self.name


def conv(channels: int, width: int, kernel: int = 1, **options: Any) -> nn.Conv2d:
    return nn.Conv2d(channels, width, kernel, padding=kernel // 2, **options)


def weight(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(shape) * 0.5 + 1)


# ---- layers ---------------------------------------------------------------------------------------------------------
def _channels_last(x: Tensor, layer: nn.Module) -> Tensor:
    return layer(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def normalisation(pick: Pick, c: int) -> nn.Module:
    """A normalisation of ``c`` channels, or none."""
    makers: dict[str, Callable[[], nn.Module]] = {
        "none": nn.Identity,
        "batch": lambda: nn.BatchNorm2d(c),
        "batch without weights": lambda: nn.BatchNorm2d(c, affine=False),
        "group": lambda: nn.GroupNorm(2, c),
        "group without weights": lambda: nn.GroupNorm(2, c, affine=False),
        "group of functions": lambda: Call("group_norm", lambda x: F.group_norm(x, 2)),
        "one group": lambda: nn.GroupNorm(1, c),
        "instance": lambda: nn.InstanceNorm2d(c, affine=True),
        "instance without weights": lambda: nn.InstanceNorm2d(c),
        "instance of functions": lambda: Call("instance_norm", lambda x: F.instance_norm(x)),
        "layer": lambda: Call("channels last", _channels_last, nn.LayerNorm(c)),
        "layer without weights": lambda: Call("last", _channels_last, nn.LayerNorm(c, elementwise_affine=False)),
        "layer of functions": lambda: Call("layer_norm", lambda x: _channels_last(x, lambda y: F.layer_norm(y, (c,)))),
        "root mean square": lambda: Call("channels last", _channels_last, nn.RMSNorm(c)),
        "all": lambda: nn.LayerNorm((c, SIZE, SIZE)),
        "standard": lambda: Call("standard", lambda x: (x - x.mean((2, 3), True)) / (x.std((2, 3), False, True) + 1)),
        "neighbours": lambda: nn.LocalResponseNorm(3),
    }
    if not hasattr(nn, "RMSNorm"):  # torch has it from 2.4 on
        del makers["root mean square"]
    return makers[pick(list(makers))]()


ACTIVATIONS: dict[str, Callable[[int], nn.Module]] = {
    "relu": lambda c: nn.ReLU(),
    "relu in place": lambda c: nn.ReLU(inplace=True),
    "relu_": lambda c: Call("relu_", lambda x: x.relu_()),
    "F.relu in place": lambda c: Call("F.relu", lambda x: F.relu(x, inplace=True)),
    "sigmoid": lambda c: nn.Sigmoid(),
    "hardswish": lambda c: nn.Hardswish(inplace=True),
    "prelu": lambda c: nn.PReLU(c),
    "one prelu": lambda c: nn.PReLU(),
    "affine": lambda c: Call("affine", lambda x: 1 - x * 2),
    "steps": lambda c: Call("steps", lambda x: torch.where(x > 0, x, 0.1 * x)),
    "gate": lambda c: Call("gate", lambda x: x * (x > 0) + (x < -1).float()),
    "bell": lambda c: Call("bell", lambda x: torch.exp(-x.pow(2))),
    "power": lambda c: Call("power", lambda x: 2 ** x.clamp(-2, 2)),
    "inverse": lambda c: Call("inverse", lambda x: 1 / (1 + x**2)),
    "clamped": lambda c: Call("clamped", lambda x, w: torch.clamp(x, max=w.abs()), weight(1, c, 1, 1)),
    "powers": lambda c: Call("powers", lambda x, w: (x.abs() + 0.1) ** w, weight(c, 1, 1)),
    "changed in place": lambda c: Call("changed", lambda x: (x + 0).mul_(0.5).add_(1).clamp_(min=0)),
}


def activation(pick: Pick, channels: int) -> nn.Module:
    """An activation, or a function that stands in its place."""
    return ACTIVATIONS[pick(list(ACTIVATIONS))](channels)


@piece
def _layer(pick: Pick, channels: int) -> Made:
    width, kernel = pick(WIDTHS), pick((1, 3))
    groups = pick([g for g in (1, 2, 4) if channels % g == 0 and width % g == 0])
    layer = conv(channels, width, kernel, groups=groups, bias=pick((True, False)))
    return nn.Sequential(layer, normalisation(pick, width), activation(pick, width)), width


@piece
def _depthwise(pick: Pick, channels: int) -> Made:
    width = channels * pick((1, 2)) if channels < 12 else channels
    return nn.Sequential(conv(channels, width, 3, groups=channels), normalisation(pick, width)), width


@piece
def _separable(pick: Pick, channels: int) -> Made:
    hidden, width = pick(WIDTHS), pick(WIDTHS)
    act = activation(pick, hidden)
    return nn.Sequential(
        conv(channels, hidden), normalisation(pick, hidden), act, conv(hidden, hidden, 3, groups=hidden),
        conv(hidden, width),
    ), width  # fmt: skip


@piece
def _transposed(pick: Pick, channels: int) -> Made:
    width = pick(WIDTHS)
    groups = pick([g for g in (1, 2, channels) if channels % g == 0 and width % g == 0])
    return nn.Sequential(
        nn.ConvTranspose2d(channels, width, 2, 2, groups=groups), nn.AvgPool2d(2), normalisation(pick, width)
    ), width


@piece
def _upsampled(pick: Pick, channels: int) -> Made:
    width = pick(WIDTHS)
    return nn.Sequential(conv(channels, width * 4), nn.PixelShuffle(2), conv(width, width), nn.AvgPool2d(2)), width


@piece
def _standardised(pick: Pick, channels: int) -> Made:
    width = pick(WIDTHS)

    def function(x: Tensor, layer: nn.Module) -> Tensor:
        w = layer.weight
        w = (w - w.mean((1, 2, 3), keepdim=True)) / (w.std((1, 2, 3), keepdim=True) + 1e-5)
        return F.conv2d(x, w, layer.bias, padding=1)

    return Call("standardised", function, conv(channels, width, 3)), width


@piece
def _shared(pick: Pick, channels: int) -> Made:
    twice, act = conv(channels, channels, 3), activation(pick, channels)
    norm = normalisation(pick, channels)
    return nn.Sequential(twice, norm, act, twice, norm, act), channels


def _shared_with_unknown(x: Tensor, twice: nn.Module, norm: nn.Module, gamma: Tensor) -> Tensor:
    y = norm(twice(x)) * gamma
    return norm(twice(torch.cumsum(y, 1))) * gamma


@piece
def _shared_where_not_followed(pick: Pick, channels: int) -> Made:
    parts = conv(channels, channels, 3), normalisation(pick, channels), weight(channels, 1, 1)
    return Call("shared", _shared_with_unknown, *parts), channels


@piece
def _of_other_ranks(pick: Pick, channels: int) -> Made:
    width = pick(WIDTHS)
    makers: dict[str, Callable[[], nn.Module]] = {
        "linear": lambda: Call("last", _channels_last, nn.Linear(channels, width)),
        "line": lambda: Call(
            "line", lambda x, f: f(x.flatten(2)).view(-1, width, SIZE, SIZE), nn.Conv1d(channels, width, 3, padding=1)
        ),
        "volume": lambda: Call(
            "volume", lambda x, f: f(x.unsqueeze(2)).squeeze(2), nn.Conv3d(channels, width, 3, padding=1)
        ),
        "frames": lambda: Call(
            "frames", lambda x, f: torch.unbind(f(torch.stack([x, x * 2], 2)), 2)[1],
            nn.Conv3d(channels, width, 3, padding=1),
        ),
        "tokens": lambda: Call(
            "tokens", lambda x, f, g: g(f(x.flatten(2)).transpose(1, 2)).mT.reshape(x.size(0), width, SIZE, SIZE),
            nn.Linear(SIZE**2, SIZE**2), nn.Linear(channels, width),
        ),
    }  # fmt: skip
    return makers[pick(list(makers))](), width


# ---- channels that are scaled ---------------------------------------------------------------------------------------
@piece
def _scaled(pick: Pick, channels: int) -> Made:
    c = channels
    constant = torch.linspace(-1, 1, c).reshape(c, 1, 1)
    makers: dict[str, Callable[[], nn.Module]] = {
        "three": lambda: Call("scale", lambda x, w: w * x, weight(c, 1, 1)),
        "four": lambda: Call("scale", lambda x, w: x + w * 2, weight(1, c, 1, 1)),
        "line": lambda: Call("scale", lambda x, w: x * w.view(1, -1, 1, 1) + w[:, None, None], weight(c)),
        "last": lambda: Call("scale", lambda x, w: _channels_last(x, lambda y: w * y), weight(c)),
        "table": lambda: Call("table", lambda x, w: x + w, weight(1, c, SIZE, SIZE)),
        "tokens": lambda: Call(
            "tokens", lambda x, w: (x.flatten(2).transpose(1, 2) + w).transpose(1, 2).reshape(x.shape),
            weight(1, SIZE**2, c),
        ),
        "number": lambda: Call("number", lambda x, w: x * w + w, weight(1)),
        "constant": lambda: Call("constant", lambda x: x + constant),
        "expanded": lambda: Call("expanded", lambda x, w: x + w.expand(x.size(0), -1, SIZE, SIZE), weight(1, c, 1, 1)),
        "hidden": lambda: Call("hidden", lambda x, w: x.masked_fill(w > 1, 0.5), weight(c, 1, 1)),
        "in two places": lambda: Call(
            "twice", lambda x, w, f, g, h: g(f(x) * w) + h(x.cumsum(1) * w),
            weight(c, 1, 1), conv(c, c), conv(c, c), conv(c, c),
        ),
        "made anew": lambda: Call("zeros", lambda x: torch.maximum(x, torch.zeros(x.size(0), c, SIZE, SIZE))),
    }  # fmt: skip
    return makers[pick(list(makers))](), channels


@piece
def _excitation(pick: Pick, channels: int) -> Made:
    hidden = pick(WIDTHS)
    makers: dict[str, Callable[[], nn.Module]] = {
        "images": lambda: Call(
            "excitation", lambda x, a, b: x * torch.sigmoid(b(F.relu(a(F.adaptive_avg_pool2d(x, 1))))),
            conv(channels, hidden), conv(hidden, channels),
        ),
        "vectors": lambda: Call(
            "excitation", lambda x, a, b: x * b(a(x.mean((2, 3))).relu()).sigmoid()[:, :, None, None],
            nn.Linear(channels, hidden), nn.Linear(hidden, channels),
        ),
        "viewed": lambda: Call(
            "excitation", lambda x, a, b: x * b(a(x.mean((2, 3)))).view(x.size(0), channels, 1, 1).expand_as(x),
            nn.Linear(channels, hidden), nn.Linear(hidden, channels),
        ),
        "one map": lambda: Call("map", lambda x, a: x * torch.sigmoid(a(x)), conv(channels, 1)),
        "expanded map": lambda: Call("map", lambda x, a: x * a(x).expand(-1, channels, -1, -1), conv(channels, 1)),
        "over channels": lambda: Call(
            "maps", lambda x, a: x * a(torch.cat([x.mean(1, keepdim=True), x.max(1, keepdim=True)[0]], 1)), conv(2, 1)
        ),
        "by neighbours": lambda: Call(
            "neighbours", lambda x, a: x * a(x.mean((2, 3))[:, None]).sigmoid().squeeze(1)[..., None, None],
            nn.Conv1d(1, 1, 3, padding=1),
        ),
    }  # fmt: skip
    return makers[pick(list(makers))](), channels


# ---- channels that are moved ----------------------------------------------------------------------------------------
MOVES: dict[str, Callable[[Tensor], Tensor]] = {
    "shuffle": lambda x: x.view(x.size(0), 2, x.size(1) // 2, SIZE, SIZE).transpose(1, 2).contiguous().view(x.shape),
    "swap": lambda x: torch.cat(x.chunk(2, dim=1)[::-1], dim=1),
    "swap by names": lambda x: torch.cat(torch.chunk(input=x, chunks=2, dim=1)[::-1], axis=1),
    "halves of a split": lambda x: torch.cat([torch.relu(part) for part in x.split(x.shape[1] // 2, 1)], 1),
    "split by names": lambda x: torch.cat(x.split(split_size=x.shape[1] // 2, dim=1), 1),
    "slices": lambda x: torch.cat([x[:, : x.shape[1] // 2], x[:, x.shape[1] // 2 :]], 1),
    "every other": lambda x: torch.cat([x[:, ::2], x[:, 1::2]], 1),
    "unbound": lambda x: torch.stack(torch.unbind(x, 1), 1),
    "first of all": lambda x: x + x.unbind(1)[0].unsqueeze(1),
    "one channel": lambda x: x * x[:, 1:2],
    "flipped": lambda x: x.flip(2, 1),
    "flipped beside": lambda x: x.flip(2, 3),
    "rolled": lambda x: torch.roll(x, (1, 1), (2, 3)),
    "rolled channels": lambda x: x.roll(1, 1),
    "sorted": lambda x: torch.sort(x, 1)[0],
    "summed up": lambda x: x.cumsum(1),
    "summed up beside": lambda x: x.cumsum(2),
    "softmax": lambda x: F.softmax(x, 1),
    "softmax beside": lambda x: x.softmax(3),
    "unit length": lambda x: F.normalize(x, dim=1),
    "length": lambda x: x / (x.norm(2, 1, keepdim=True) + 1),
    "length beside": lambda x: x / (x.norm(p=2, dim=(2, 3), keepdim=True) + 1),
    "spread": lambda x: x / (x.var(1, keepdim=True) + 1),
    "best": lambda x: x * (x >= x.topk(2, dim=1)[0][:, 1:2]),
    "softmax in groups": lambda x: x.unflatten(1, (2, -1)).softmax(2).flatten(1, 2),
    "largest of a group": lambda x: x + x.unflatten(1, (-1, 2)).amax(2).repeat_interleave(2, 1),
    "pooled over channels": lambda x: F.avg_pool1d(x.flatten(2).transpose(1, 2), 3, 1, 1).mT.reshape(x.shape),
    "pooled": lambda x: F.interpolate(F.max_pool2d(x, 2), scale_factor=2, mode="nearest"),
    "resized": lambda x: F.interpolate(F.interpolate(x, size=(5, 5), mode="bilinear"), (SIZE, SIZE)),
    "repeated": lambda x: x.repeat(1, 2, 1, 1)[:, :, :SIZE].chunk(2, 1)[0],
    "repeated beside": lambda x: x.mean((2, 3), keepdim=True).repeat(1, 1, SIZE, SIZE) + x,
    "windows": lambda x: F.fold(F.unfold(x, 3, padding=1), (SIZE, SIZE), 3, padding=1),
    "patches": lambda x: F.pixel_shuffle(F.pixel_unshuffle(x, 2), 2),
    "into the batch": lambda x: F.avg_pool2d(x.reshape(-1, 1, SIZE, SIZE), 3, 1, 1).reshape(x.shape),
    "pairs into the batch": lambda x: x.reshape(x.size(0) * 2, -1, SIZE, SIZE).relu().reshape(x.shape),
    "gram": lambda x: torch.einsum("nchw,ndhw->ncd", x, x).softmax(-1).sum(2)[..., None, None] * x,
    "product": lambda x: torch.matmul(x.flatten(2).mT, x.flatten(2)).sigmoid().mean((1, 2)).view(-1, 1, 1, 1) * x,
    "places": lambda x: torch.matmul(x, x.transpose(2, 3)),
    "squeezed": lambda x: x * F.adaptive_avg_pool2d(x, 1).squeeze().view(x.size(0), -1, 1, 1),
}  # fmt: skip


@piece
def _moved(pick: Pick, channels: int) -> Made:
    name = pick(list(MOVES))
    return Call(name, MOVES[name]), channels


@piece
def _of_another_width(pick: Pick, channels: int) -> Made:
    c = channels
    options: dict[str, tuple[Callable[[Tensor], Tensor], int]] = {
        "gated": (lambda x: (lambda a, b: a * torch.sigmoid(b))(*x.chunk(2, 1)), c // 2),
        "glu": (lambda x: F.glu(x, 1), c // 2),
        "a part": (lambda x: torch.split(x, [c - 2, 2], 1)[0], c - 2),
        "parts": (lambda x: (lambda a, b: torch.cat([b, a.relu(), b], 1))(*x.split([2, c - 2], dim=1)), 2 * c - 2),
        "unequal": (lambda x: torch.cat(x.chunk(3, 1)[:2], 1), 2 * -(-c // 3)),
        "padded": (lambda x: F.pad(x, (0, 0, 0, 0, 1, 1)), c + 2),
        "with zeros": (lambda x: torch.cat([x, x.new_zeros(x.size(0), 2, SIZE, SIZE)], 1), c + 2),
        "with a coordinate": (lambda x: torch.cat([x, x[:, :2] * 0 + torch.linspace(0, 1, SIZE)], 1), c + 2),
        "shuffled up": (lambda x: F.max_pool2d(F.pixel_shuffle(F.pad(x, (0, 0, 0, 0, 0, -c % 4)), 2), 2), -(-c // 4)),
        "unshuffled": (lambda x: F.interpolate(F.pixel_unshuffle(x, 2), scale_factor=2), c * 4),
        "repeated": (lambda x: x.repeat(1, 2, 1, 1), c * 2),
        "repeated one by one": (lambda x: x.repeat_interleave(2, dim=1), c * 2),
        "stacked": (lambda x: torch.stack([x, -x], 2).flatten(1, 2), c * 2),
        "paired": (lambda x: x.unflatten(1, (c // 2, 2)).amax(2), c // 2),
    }
    fitting = [n for n, (_, width) in options.items() if width % 2 == 0 and 4 <= width <= max(24, c - 2)]
    name = pick(fitting)
    return Call(name, options[name][0]), options[name][1]


# ---- attention ------------------------------------------------------------------------------------------------------
def _heads(x: Tensor, qkv: nn.Module, out: nn.Module, table: Tensor) -> Tensor:
    tokens = x.flatten(2).transpose(1, 2)
    q, k, v = qkv(tokens).reshape(x.size(0), SIZE**2, 3, 2, -1).permute(2, 0, 3, 1, 4).unbind(0)
    logits = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1) + table
    return out((logits.softmax(-1) @ v).transpose(1, 2).flatten(2)).transpose(1, 2).reshape(x.size(0), -1, SIZE, SIZE)


def _linear_attention(x: Tensor, q: nn.Module, k: nn.Module, v: nn.Module, out: nn.Module) -> Tensor:
    queries, keys, values = F.elu(q(x).flatten(2)) + 1, F.elu(k(x).flatten(2)) + 1, v(x).flatten(2)
    context = torch.einsum("ncl,ndl->ncd", keys, values)
    return out(torch.einsum("ncd,ncl->ndl", context, queries).reshape(x.size(0), -1, SIZE, SIZE))


def _fused(x: Tensor, qkv: nn.Module, out: nn.Module) -> Tensor:
    q, k, v = qkv(x).flatten(2).unflatten(1, (2, -1)).transpose(2, 3).chunk(3, -1)
    return out(F.scaled_dot_product_attention(q, k, v).transpose(2, 3).reshape(x.size(0), -1, SIZE, SIZE))


@piece
def _attention(pick: Pick, channels: int) -> Made:
    width, hidden = pick(WIDTHS), pick((8, 4, 12))
    table = nn.Parameter(torch.randn(2, SIZE**2, SIZE**2) * 0.1)
    makers: dict[str, Callable[[], nn.Module]] = {
        "heads": lambda: Call("heads", _heads, nn.Linear(channels, 3 * hidden), nn.Linear(hidden, width), table),
        "fused": lambda: Call("fused", _fused, conv(channels, 3 * hidden), conv(hidden, width)),
        "linear": lambda: Call(
            "linear", _linear_attention, conv(channels, 4), conv(channels, 4), conv(channels, hidden),
            conv(hidden, width),
        ),
        "torch's": lambda: Call(
            "multi-head", lambda x, f, m, g: _channels_last(x, lambda y: g(m(*[f(y.flatten(1, 2))] * 3)[0])
                                                            .unflatten(1, (SIZE, SIZE))),
            nn.Linear(channels, hidden), nn.MultiheadAttention(hidden, 2, batch_first=True), nn.Linear(hidden, width),
        ),
    }  # fmt: skip
    return makers[pick(list(makers))](), width
