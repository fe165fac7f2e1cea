"""How channels travel through operations that split or index a tensor."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor, fx

from legodnn.builder.graph.channels.map import ChannelMap, Tag, refuse, weight_of
from legodnn.builder.graph.channels.moving import simplified
from legodnn.builder.graph.channels.rules import argument, channel_rule, rank, source_of
from legodnn.builder.graph.values import metadata

_CHUNKS = (torch.chunk, "chunk")
_SPLITS = (torch.split, "split")
_UNBINDS = (torch.unbind, "unbind")


@channel_rule(*_UNBINDS)
def _unbind(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    return channels.tag(source_of(node))  # `getitem` takes each part's channels


@channel_rule(*_CHUNKS, *_SPLITS)
def _divide(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    source = source_of(node)
    tag = channels.tag(source)
    axis = argument(node, 2, "dim", 0) % rank(source)
    if tag is None or axis not in tag.axes:
        return tag
    position = tag.axes.index(axis)
    sizes = _sizes(node, tag.ids.shape[position])
    if sizes is None:
        refuse(channels, node, "splits into unequal parts")
        return None
    parts = np.split(tag.ids, list(accumulate(sizes))[:-1], position)
    name, size = _size_of_parts(node)
    path: tuple[int | str, ...] = (1,) if len(node.args) > 1 else (name,)
    if isinstance(size, (list, tuple)):
        for i, part in enumerate(parts):
            channels.literal(node, (*path, i), part, position)
        return tag
    for part in parts[1:]:  # ``chunk`` and ``split`` make equal parts after pruning, too
        channels.tie(parts[0], part)
    if node.target in _SPLITS:
        channels.literal(node, path, parts[0], position)
    return tag


def _size_of_parts(node: fx.Node) -> tuple[str, Any]:
    """The name of the argument that gives the number or the sizes of a division's parts, and its value."""
    names = ("chunks",) if node.target in _CHUNKS else ("split_size_or_sections", "split_size")
    name = next((n for n in names if n in node.kwargs), names[0])
    return name, argument(node, 1, name)


def _sizes(node: fx.Node, count: int) -> list[int] | None:
    """The sizes of all parts of a division; None where they are not all equal and not written down."""
    size = _size_of_parts(node)[1]
    if isinstance(size, (list, tuple)):
        return list(size) if all(isinstance(s, int) for s in size) else None
    width = math.ceil(count / size) if node.target in _CHUNKS else size
    return None if count % width else [width] * (count // width)


@channel_rule(operator.getitem)
def _getitem(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    source, index = node.args
    tag = channels.tag(source)
    if tag is None or not isinstance(source, fx.Node):
        return None
    if isinstance(index, int) and not metadata(source).is_tensor:
        return _item(channels, source, tag, index)
    return _indexed(channels, node, source, tag, index)


def _item(channels: ChannelMap, source: fx.Node, tag: Tag, index: int) -> Tag | None:
    """A part of a tuple: of chunks, of a split, of slices, or (of an operation with two results) the tensor itself."""
    whole = source_of(source)
    if source.target in _UNBINDS:
        axis = argument(source, 1, "dim", 0) % rank(whole)
        found = _picked(channels, tag, rank(whole), tuple([slice(None)] * axis + [index]))
        if found is None:
            refuse(channels, source, "takes channels one by one")
        return found
    if source.target not in (*_CHUNKS, *_SPLITS):
        return tag
    axis = argument(source, 2, "dim", 0) % rank(whole)
    if axis not in tag.axes:
        return tag
    position = tag.axes.index(axis)
    sizes = _sizes(source, tag.ids.shape[position])
    assert sizes is not None  # the division itself has a tag
    return Tag(tag.axes, np.split(tag.ids, list(accumulate(sizes))[:-1], position)[index])


@channel_rule(nn.GLU, F.glu)
def _glu(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    source = source_of(node)
    tag = channels.tag(source)
    axis = (layer.dim if layer is not None else argument(node, 1, "dim", -1)) % rank(source)
    if tag is None or axis not in tag.axes:
        return tag
    first, second = np.split(tag.ids, 2, tag.axes.index(axis))
    channels.tie(first, second)
    return Tag(tag.axes, first)


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
    """Whether an index takes the channels' axes whole or one entry: other bounds would be wrong after pruning."""
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
    """The channels of ``tensor[index]`` for plain indices; None where no channel axis is left."""
    full = _per_axis(axes, index)
    for position, axis in enumerate(tag.axes):
        if isinstance(full[axis], int):  # an index taken by number must not shift
            channels.tie(tag.ids, tag.ids.take([0], position))
    ids = tag.ids[tuple(full[axis] for axis in tag.axes)]
    marks = torch.empty(tuple(range(2, axes + 2)), device="meta")
    left = [axis for axis in range(axes) if not isinstance(full[axis], int)]
    kept = [axis for axis in tag.axes if axis in left]
    if not kept:
        return None
    positions = _positions(index, axes, left, marks)
    if ids.ndim > 1:
        channels.index_map(ids)
    return Tag(tuple(positions[axis] for axis in kept), ids)


def _positions(index: Sequence[Any], axes: int, left: Sequence[int], marks: Tensor) -> dict[int, int]:
    """The position of each axis of the source in the result, in which integers remove axes and None adds some."""
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
    channels.tie(lines, lines[:, :1])  # the index is a constant, so the table keeps its rows
    return simplified(channels, range(ids.ndim), channels.roots(ids))
