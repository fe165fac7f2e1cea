"""How channels travel through operations that move, split, merge or pick axes."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import torch
import torch.nn as nn
from torch import Tensor, fx

from legodnn.builder.graph.channels import ChannelMap, Ids, Tag, refuse, weight_of
from legodnn.builder.graph.rules import argument, channel_rule, rank, source_of
from legodnn.builder.graph.values import facts


def _simplified(channels: ChannelMap, axes: Sequence[int], ids: Ids) -> Tag:
    """A tag without the axes along which the channel does not change."""
    kept = [i for i in range(ids.ndim) if not (ids == ids.take([0], i)).all()]
    kept = kept or [max(range(ids.ndim), key=lambda i: ids.shape[i])]
    for i in reversed(range(ids.ndim)):
        if i not in kept:
            ids = ids.take(0, i)
    if ids.ndim > 1:
        channels.grid(ids)
    return Tag(tuple(axes[i] for i in kept), ids)


# ---- reshape ------------------------------------------------------------------------------------------------------
@channel_rule("reshape", "squeeze", "unsqueeze", torch.squeeze, torch.unsqueeze, nn.Flatten, "flatten")
def _reshape(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    source = source_of(node)
    tag = channels.tag(source)
    if tag is None:
        return None
    before, after = facts(source).shape, facts(node).shape
    groups = [(a, b) for a, b in _groups(before, after) if set(a) & set(tag.axes)]
    first, last = groups[0], groups[-1]
    axes_in = range(first[0][0], last[0][-1] + 1)
    axes_out = range(first[1][0], last[1][-1] + 1)
    shape = [before[a] if a in tag.axes else 1 for a in axes_in]
    ids = np.broadcast_to(tag.ids.reshape(shape), [before[a] for a in axes_in])
    result = _simplified(channels, axes_out, ids.reshape([after[a] for a in axes_out]))
    _note_sizes(channels, node, result)
    return result


def _groups(before: Sequence[int], after: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """The smallest runs of axes on both sides that hold the same number of entries."""
    groups: list[tuple[list[int], list[int]]] = []
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
    if node.target not in ("reshape", "expand"):
        return
    listed = len(node.args) > 1 and isinstance(node.args[1], (list, tuple))
    sizes: Any = node.args[1] if listed else node.args[1:]
    for position, axis in enumerate(tag.axes):
        if isinstance(sizes[axis], int) and sizes[axis] > 0:
            channels.literal(node, (1, axis) if listed else (axis + 1,), tag.ids, position)


@channel_rule("expand")
def _expand(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    source = source_of(node)
    tag = channels.tag(source)
    if tag is None:
        return None
    added = rank(node) - rank(source)
    moved = Tag(tuple(a + added for a in tag.axes), tag.ids)
    _note_sizes(channels, node, moved)
    return moved


# ---- axes in another order ----------------------------------------------------------------------------------------
@channel_rule(
    "permute", torch.permute, "transpose", torch.transpose, "swapaxes", torch.swapaxes, "movedim", torch.movedim
)
def _permute(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    tag = channels.tag(source_of(node))
    if tag is None:
        return None
    marks = torch.empty(tuple(range(1, rank(node) + 1)), device="meta")  # the size of each axis says where it goes
    moved = getattr(torch, node.target if isinstance(node.target, str) else node.target.__name__)
    given = node.args[1:]
    if moved is torch.permute:
        given = (argument(node, 1, "dims"),) if isinstance(argument(node, 1, "dims"), (list, tuple)) else (given,)
    sizes = list(moved(marks, *given, **{k: v for k, v in node.kwargs.items() if k not in ("input", "dims")}).shape)
    axes = [sizes.index(a + 1) for a in tag.axes]
    order = np.argsort(axes)
    return Tag(tuple(axes[i] for i in order), tag.ids.transpose(order))


@channel_rule(nn.PixelShuffle, torch.pixel_shuffle)
def _pixel_shuffle(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    tag = channels.tag(source_of(node))
    if tag is None or tag.only_axis != 1:
        refuse(channels, node, "channels are not on axis 1")
        return None
    factor = layer.upscale_factor if layer is not None else argument(node, 1, "upscale_factor")
    ids = tag.ids.reshape(-1, factor**2)
    channels.tie(ids, ids[:, :1])
    return Tag((1,), ids[:, 0])


@channel_rule(nn.PixelUnshuffle, torch.pixel_unshuffle)
def _pixel_unshuffle(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    tag = channels.tag(source_of(node))
    if tag is None or tag.only_axis != 1:
        refuse(channels, node, "channels are not on axis 1")
        return None
    factor = layer.downscale_factor if layer is not None else argument(node, 1, "downscale_factor")
    return Tag((1,), np.repeat(tag.ids, factor**2))


@channel_rule(nn.ChannelShuffle, torch.channel_shuffle)
def _channel_shuffle(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    tag = channels.tag(source_of(node))
    if tag is None or tag.only_axis != 1:
        refuse(channels, node, "channels are not on axis 1")
        return None
    ids = tag.ids.reshape(layer.groups if layer is not None else argument(node, 1, "groups"), -1)
    channels.tie(ids, ids[:1])  # the number of groups stays
    return Tag((1,), ids.T.ravel())


# ---- parts --------------------------------------------------------------------------------------------------------
_CHUNKS = (torch.chunk, "chunk")
_SPLITS = (torch.split, "split")
_UNBINDS = (torch.unbind, "unbind")


@channel_rule(*_CHUNKS, *_SPLITS, *_UNBINDS)
def _whole(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    return channels.tag(source_of(node))  # `getitem` takes each part's share


@channel_rule(operator.getitem)
def _getitem(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    source, index = node.args
    tag = channels.tag(source)
    if tag is None or not isinstance(source, fx.Node):
        return None
    if isinstance(index, int) and not facts(source).is_tensor:
        return _item(channels, source, tag, index)
    return _indexed(channels, node, source, tag, index)


def _item(channels: ChannelMap, source: fx.Node, tag: Tag, index: int) -> Tag | None:
    """A part of a tuple: of chunks, of a split, of slices, or (of an operation with two results) the tensor itself."""
    whole = source_of(source)
    if source.target in _UNBINDS:
        axis = argument(source, 1, "dim", 0) % rank(whole)
        return _picked(channels, tag, rank(whole), tuple([slice(None)] * axis + [index]))
    if source.target not in (*_CHUNKS, *_SPLITS):
        return tag
    axis = argument(source, 2, "dim", 0) % rank(whole)
    if axis not in tag.axes:
        return tag
    position = tag.axes.index(axis)
    count = tag.ids.shape[position]
    size = argument(source, 1, "chunks" if source.target in _CHUNKS else "split_size_or_sections")
    if isinstance(size, (list, tuple)) and all(isinstance(s, int) for s in size):
        ends = list(accumulate(size))
        ids = tag.ids.take(range(ends[index] - size[index], ends[index]), position)
        channels.literal(source, (1, index), ids, position)
        return Tag(tag.axes, ids)
    width = math.ceil(count / size) if source.target in _CHUNKS else size
    if count % width:
        refuse(channels, source, "splits into unequal parts")
        return None
    parts = np.split(tag.ids, count // width, position)
    for part in parts[1:]:  # they must stay equally large
        channels.tie(parts[0], part)
    if source.target in _SPLITS:
        channels.literal(source, (1,), parts[0], position)
    return Tag(tag.axes, parts[index])


def _indexed(channels: ChannelMap, node: fx.Node, source: fx.Node, tag: Tag, index: Any) -> Tag | None:
    index = index if isinstance(index, tuple) else (index,)
    if len(index) == 1 and isinstance(index[0], fx.Node):
        return _gathered(channels, node, source, tag, index[0])
    plain = all(item is None or item is Ellipsis or isinstance(item, (int, slice)) for item in index)
    if plain and not any(isinstance(bound, fx.Node) for s in index if isinstance(s, slice) for bound in _bounds(s)):
        found = _picked(channels, tag, rank(source), index)
        if found is not None and _same_channels(tag, rank(source), index):
            return found
    refuse(channels, node, "picks channels by number")
    return None


def _bounds(item: slice) -> tuple[Any, Any, Any]:
    return item.start, item.stop, item.step


def _same_channels(tag: Tag, axes: int, index: Sequence[Any]) -> bool:
    """Whether an index leaves the channels' axes whole or takes one entry: bounds would be wrong after pruning."""
    full = _per_axis(axes, index)
    return all(isinstance(full[axis], int) or full[axis] == slice(None) for axis in tag.axes)


def _per_axis(axes: int, index: Sequence[Any]) -> list[Any]:
    """One entry for each axis of the source."""
    given = [item for item in index if item is not None]
    if Ellipsis in given:
        at = given.index(Ellipsis)
        given[at : at + 1] = [slice(None)] * (axes - len(given) + 1)
    return given + [slice(None)] * (axes - len(given))


def _picked(channels: ChannelMap, tag: Tag, axes: int, index: Sequence[Any]) -> Tag | None:
    """The channels of ``tensor[index]`` for plain indices; None where nothing of them is left."""
    full = _per_axis(axes, index)
    ids = tag.ids[tuple(full[axis] for axis in tag.axes)]
    marks = torch.empty(tuple(range(2, axes + 2)), device="meta")
    left = [axis for axis in range(axes) if not isinstance(full[axis], int)]
    kept = [axis for axis in tag.axes if axis in left]
    if not kept:
        return None
    positions = _positions(index, axes, left, marks)
    if ids.ndim > 1:
        channels.grid(ids)
    return Tag(tuple(positions[axis] for axis in kept), ids)


def _positions(index: Sequence[Any], axes: int, left: Sequence[int], marks: Tensor) -> dict[int, int]:
    """Where each axis of the source ends up when integers take axes away and None adds some."""
    whole = tuple(slice(None) if isinstance(item, slice) else 0 if isinstance(item, int) else item for item in index)
    sizes = list(marks[whole].shape)
    return {axis: sizes.index(axis + 2) for axis in left}


def _gathered(channels: ChannelMap, node: fx.Node, source: fx.Node, tag: Tag, index: fx.Node) -> Tag | None:
    """Rows of a table, picked by a constant index (relative position biases)."""
    if index.op != "get_attr" or tag.axes != tuple(range(rank(source))):
        if index.op == "get_attr" and 0 not in tag.axes:
            added = rank(index) - 1
            return Tag(tuple(a + added for a in tag.axes), tag.ids)
        refuse(channels, node, "picks channels by a tensor")
        return None
    ids = tag.ids[weight_of(channels.module, index).cpu().numpy()]
    lines = np.moveaxis(tag.ids, 0, -1).reshape(-1, tag.ids.shape[0])
    channels.tie(lines, lines[:, :1])  # the table's rows stay
    return _simplified(channels, range(ids.ndim), channels.roots(ids))
