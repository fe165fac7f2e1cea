"""How channels travel through operations that move, merge, repeat or rearrange axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn as nn
from torch import fx

from legodnn.builder.graph.channels.map import ChannelMap, Ids, Tag, refuse
from legodnn.builder.graph.channels.rules import argument, channel_rule, everywhere, rank, rule_of, source_of
from legodnn.builder.graph.values import metadata


def simplified(channels: ChannelMap, axes: Sequence[int], ids: Ids) -> Tag:
    """A tag without the axes along which the channel does not change."""
    kept = [i for i in range(ids.ndim) if not (ids == ids.take([0], i)).all()]
    kept = kept or [max(range(ids.ndim), key=lambda i: ids.shape[i])]
    ids = ids[tuple(slice(None) if i in kept else 0 for i in range(ids.ndim))]
    if ids.ndim > 1:
        channels.index_map(ids)
    return Tag(tuple(axes[i] for i in kept), ids)


# ---- reshape ------------------------------------------------------------------------------------------------------
@channel_rule("reshape", "squeeze", "unsqueeze", torch.squeeze, torch.unsqueeze, nn.Flatten, "flatten")
def _reshape(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    source = source_of(node)
    tag = channels.tag(source)
    if tag is None:
        return None
    if _squeezes_channels(node, tag):
        refuse(channels, node, "drops a channel axis of which one channel is left")
        return None
    before, after = metadata(source).shape, metadata(node).shape
    groups = [(a, b) for a, b in _groups(before, after) if set(a) & set(tag.axes)]
    first, last = groups[0], groups[-1]
    axes_in = range(first[0][0], last[0][-1] + 1)
    axes_out = range(first[1][0], last[1][-1] + 1)
    shape = [before[a] if a in tag.axes else 1 for a in axes_in]
    ids = np.broadcast_to(tag.ids.reshape(shape), [before[a] for a in axes_in])
    result = simplified(channels, axes_out, ids.reshape([after[a] for a in axes_out]))
    _note_sizes(channels, node, result)
    return result


def _squeezes_channels(node: fx.Node, tag: Tag) -> bool:
    """Whether ``squeeze`` would drop an axis that has several channels now and may have one only after pruning."""
    if node.target not in ("squeeze", torch.squeeze):
        return False
    axes = rank(source_of(node))
    dropped = _named_axes(node, "dim", axes) or set(range(axes))
    return any(axis in dropped and size > 1 for axis, size in zip(tag.axes, tag.ids.shape, strict=True))


def _named_axes(node: fx.Node, name: str, axes: int) -> set[int]:
    """The axes a call names, one by one or in a list."""
    given: Any = node.args[1:] if len(node.args) > 1 else (argument(node, 1, name),)
    named = [d for item in given for d in (item if isinstance(item, (list, tuple)) else [item])]
    return {d % axes for d in named if d is not None}


def _groups(before: Sequence[int], after: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """The smallest runs of axes on both sides that hold the same number of entries."""
    groups: list[tuple[list[int], list[int]]] = []
    mine: list[int]
    yours: list[int]
    i = j = 0
    while i < len(before) or j < len(after):
        mine, yours = [], []
        left = right = 1
        while not mine or not yours or left != right:
            if (left <= right and i < len(before)) or j >= len(after):
                if i >= len(before):
                    break
                mine.append(i)
                left *= before[i]
                i += 1
            else:
                yours.append(j)
                right *= after[j]
                j += 1
        groups.append((mine, yours))
    return _without_empty(groups)


def _without_empty(groups: list[tuple[list[int], list[int]]]) -> list[tuple[list[int], list[int]]]:
    """Axes of size 1 at an end have no partner; they join their neighbours."""
    merged: list[tuple[list[int], list[int]]] = []
    for mine, yours in groups:
        if merged and (not mine or not yours or not merged[-1][0] or not merged[-1][1]):
            merged[-1] = (merged[-1][0] + mine, merged[-1][1] + yours)
        else:
            merged.append((mine, yours))
    return merged


def _note_sizes(channels: ChannelMap, node: fx.Node, tag: Tag) -> None:
    """Record the sizes of channel axes that are literal numbers in the arguments of ``reshape`` or ``expand``."""
    path: tuple[int | str, ...]
    if node.target not in ("reshape", "expand"):
        return
    if "size" in node.kwargs:
        sizes, path = node.kwargs["size"], ("size",)
    else:
        listed = isinstance(node.args[1], (list, tuple))
        sizes, path = (node.args[1], (1,)) if listed else (node.args[1:], ())
    for position, axis in enumerate(tag.axes):
        size = sizes[axis]  # type: ignore[index]
        if isinstance(size, int) and size > 0:
            channels.literal(node, (*path, axis) if path else (axis + 1,), tag.ids, position)


@channel_rule("expand")
def _expand(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    source = source_of(node)
    tag = channels.tag(source)
    if tag is None:
        return None
    added = rank(node) - rank(source)
    moved = Tag(tuple(a + added for a in tag.axes), tag.ids)
    if any(metadata(node).shape[axis] != size for axis, size in zip(moved.axes, moved.ids.shape, strict=True)):
        refuse(channels, node, "repeats one channel")
        return None
    _note_sizes(channels, node, moved)
    return moved


@channel_rule("expand_as")
def _expand_as(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    """As a sum with zeros of the other's shape."""
    return rule_of(torch.add)(channels, node, layer)


@channel_rule("repeat", *everywhere(["tile"]))
def _repeat(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    tag = channels.tag(source_of(node))
    if tag is None:
        return None
    given: Any = node.args[1:] or tuple(v for k, v in node.kwargs.items() if k in ("repeats", "dims"))
    counts = list(given[0] if len(given) == 1 and isinstance(given[0], (list, tuple)) else given)
    counts = [1] * (rank(node) - len(counts)) + counts
    added = rank(node) - rank(source_of(node))
    axes = tuple(axis + added for axis in tag.axes)
    if not all(isinstance(counts[axis], int) for axis in axes):
        refuse(channels, node, "repeats channels")
        return None
    return simplified(channels, axes, np.tile(tag.ids, [counts[axis] for axis in axes]))


@channel_rule(*everywhere(["repeat_interleave"]))
def _repeat_interleave(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    tag, count, axis = channels.tag(source_of(node)), argument(node, 1, "repeats"), argument(node, 2, "dim")
    if tag is None:
        return None
    if not isinstance(count, int) or axis is None:
        refuse(channels, node, "repeats channels")
        return None
    axis %= rank(node)
    return Tag(tag.axes, tag.ids.repeat(count, tag.axes.index(axis))) if axis in tag.axes else tag


@channel_rule(*everywhere(["flip"]))
def _flip(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    tag = channels.tag(source_of(node))
    if tag is None:
        return None
    flipped = _named_axes(node, "dims", rank(node))
    positions = tuple(i for i, axis in enumerate(tag.axes) if axis in flipped)
    return Tag(tag.axes, np.flip(tag.ids, positions))


@channel_rule(*everywhere(["roll"]))
def _roll(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    tag, given = channels.tag(source_of(node)), argument(node, 2, "dims")
    named = [given] if isinstance(given, int) else given or range(rank(node))
    if tag is None or {d % rank(node) for d in named}.isdisjoint(tag.axes):
        return tag
    refuse(channels, node, "moves channels around")
    return None


# ---- axes in another order ----------------------------------------------------------------------------------------
@channel_rule(
    "permute", torch.permute, "transpose", torch.transpose, "swapaxes", torch.swapaxes, "movedim", torch.movedim
)
def _permute(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    tag = channels.tag(source_of(node))
    if tag is None:
        return None
    sizes = _moved_sizes(node)
    axes = [sizes.index(a + 1) for a in tag.axes]
    order = np.argsort(axes)
    return Tag(tuple(axes[i] for i in order), tag.ids.transpose(order))


def _moved_sizes(node: fx.Node) -> list[int]:
    """The sizes of the result of moving the axes of a tensor whose axis i has size i + 1, so that each size names an
    axis."""
    marks = torch.empty(tuple(range(1, rank(node) + 1)), device="meta")
    if node.target is getattr:
        return list(marks.mT.shape)
    moved = getattr(torch, node.target if isinstance(node.target, str) else node.target.__name__)
    given = node.args[1:]
    if moved is torch.permute:
        given = (argument(node, 1, "dims"),) if isinstance(argument(node, 1, "dims"), (list, tuple)) else (given,)
    return list(moved(marks, *given, **{k: v for k, v in node.kwargs.items() if k not in ("input", "dims")}).shape)


def _of_images(channels: ChannelMap, node: fx.Node) -> Tag | None:
    """The channels of a batch of images; None where they lie on another axis, and then they are not prunable."""
    tag = channels.tag(source_of(node))
    if tag is not None and tag.only_axis == 1 and rank(node) >= 4:
        return tag
    refuse(channels, node, "channels are not on axis 1")
    return None


@channel_rule(nn.PixelShuffle, torch.pixel_shuffle)
def _pixel_shuffle(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    tag = _of_images(channels, node)
    if tag is None:
        return None
    factor = layer.upscale_factor if layer is not None else argument(node, 1, "upscale_factor")
    ids = tag.ids.reshape(-1, factor**2)
    channels.tie(ids, ids[:, :1])
    return Tag((1,), ids[:, 0])


@channel_rule(nn.PixelUnshuffle, torch.pixel_unshuffle)
def _pixel_unshuffle(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    tag = _of_images(channels, node)
    if tag is None:
        return None
    factor = layer.downscale_factor if layer is not None else argument(node, 1, "downscale_factor")
    return Tag((1,), np.repeat(tag.ids, factor**2))


@channel_rule(nn.ChannelShuffle, torch.channel_shuffle)
def _channel_shuffle(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    tag = _of_images(channels, node)
    if tag is None:
        return None
    ids = tag.ids.reshape(layer.groups if layer is not None else argument(node, 1, "groups"), -1)
    channels.tie(ids, ids[:1])  # the number of groups is fixed in the operation
    return Tag((1,), ids.T.ravel())
