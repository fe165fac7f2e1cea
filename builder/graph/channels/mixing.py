"""How channels travel through operations on several tensors: sums, products, contractions, concatenation.

All but concatenation are one case: every axis of every operand has a letter, as in ``einsum``. Channels of two operands
under the same letters are coupled; a letter missing from the result is summed over.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import fx

from legodnn.builder.graph.channels.map import ChannelMap, Ids, Reason, Tag, reason_of, refuse
from legodnn.builder.graph.channels.rules import argument, channel_rule, everywhere, rank
from legodnn.builder.graph.values import metadata

Letters = Sequence[Any]


def combine(
    channels: ChannelMap, node: fx.Node, operands: Sequence[tuple[fx.Node, Letters]], out: Letters
) -> Tag | None:
    """The channels of a result with axes ``out`` from operands with lettered axes; None where they are not followed
    further."""
    operands = _without_repeated(operands)
    tags: list[tuple[Letters, dict[Any, int], Tag]] = []
    unfollowed = []
    for value, letters in operands:
        tag = _direct(channels, value)
        if tag is None:
            unfollowed.append((value, letters))
        elif any(letters[axis] is None for axis in tag.axes):
            if tag.ids.size > 1:
                channels.protect(tag.ids, reason_of(channels.module, node, "repeats one channel along others"))
            unfollowed.append((value, letters))
        else:
            tags.append((letters, {letters[axis]: i for i, axis in enumerate(tag.axes)}, tag))
    if not tags:
        return None
    for (letters, named, _), (others, theirs, _) in combinations(tags, 2):
        if named.keys().isdisjoint(theirs) and (named.keys() & set(others) or theirs.keys() & set(letters)):
            refuse(channels, node, "mixes channels on different axes")
            return None
    for value, letters in unfollowed:
        if not _fits(channels, node, value, letters, tags):
            return None
    result: tuple[tuple[Any, ...], Ids] | None = None
    for _, named, tag in tags:
        result = _joined(channels, result, (tuple(named), tag.ids))
    assert result is not None
    return _result(channels, node, result, out)


def _without_repeated(operands: Sequence[tuple[fx.Node, Letters]]) -> list[tuple[fx.Node, Letters]]:
    """Axes of size 1 that are broadcast along another operand's lose their letter: they couple nothing."""
    sizes: dict[Any, int] = {}
    for value, letters in operands:
        for letter, size in zip(letters, metadata(value).shape, strict=True):
            sizes[letter] = max(size, sizes.get(letter, 1))
    return [
        (value, [None if size < sizes[k] else k for k, size in zip(letters, metadata(value).shape, strict=True)])
        for value, letters in operands
    ]


def _direct(channels: ChannelMap, value: fx.Node) -> Tag | None:
    """An operand's channels; None for a weight, which `_fits` handles last."""
    return None if value.op == "get_attr" else channels.tag(value)


def _fits(channels: ChannelMap, node: fx.Node, value: fx.Node, letters: Letters, tags: Sequence[Any]) -> bool:
    """Whether an operand without followed channels fits the others: it has none of their axes, or is a weight, which
    then shrinks with them."""
    held = set(range(len(letters)))
    for _, named, tag in tags:
        for letter, position in named.items():
            if letter not in letters:
                continue
            if value.op != "get_attr":
                refuse(channels, node, "mixes followed and unfollowed channels")
                return False
            owner, _, parameter = str(value.target).rpartition(".")
            lines = np.moveaxis(tag.ids, position, 0).reshape(tag.ids.shape[position], -1)
            channels.tie(lines, lines[:, :1])  # one entry of the weight serves all of them
            channels.shrink(owner, parameter, letters.index(letter), lines[:, 0], "carry")
            held.discard(letters.index(letter))
    if value.op == "get_attr":
        owner, _, parameter = str(value.target).rpartition(".")
        for axis in held:  # along its other axes it keeps its size
            channels.hold(owner, reason_of(channels.module, node, "reads all of a weight"), parameter, axis)
    return True


def _joined(
    channels: ChannelMap, known: tuple[tuple[Any, ...], Ids] | None, new: tuple[tuple[Any, ...], Ids]
) -> tuple[tuple[Any, ...], Ids]:
    """Two operands' channels as one array: what is under the same letters is coupled."""
    if known is None:
        return new
    if set(known[0]).isdisjoint(new[0]):
        small, large = sorted((known, new), key=lambda item: item[1].size)
        channels.protect(small[1], Reason("a product of two kinds of channels"))
        return large
    union = (*known[0], *[letter for letter in new[0] if letter not in known[0]])
    a, b = (np.broadcast_to(*_spread(item, union, (known, new))) for item in (known, new))
    channels.tie(a, b)
    return union, np.ascontiguousarray(a)


def _spread(item: tuple[tuple[Any, ...], Ids], union: Letters, both: Sequence[tuple[tuple[Any, ...], Ids]]) -> Any:
    letters, ids = item
    order = [letter for letter in union if letter in letters]
    moved = ids.transpose([letters.index(letter) for letter in order])
    sizes = {letter: size for known, array in both for letter, size in zip(known, array.shape, strict=True)}
    shaped = moved.reshape([sizes[letter] if letter in letters else 1 for letter in union])
    return shaped, tuple(sizes[letter] for letter in union)


def _result(channels: ChannelMap, node: fx.Node, found: tuple[tuple[Any, ...], Ids], out: Letters) -> Tag | None:
    letters, ids = found
    summed = tuple(i for i, letter in enumerate(letters) if letter not in out)
    left = [letter for letter in letters if letter in out]
    if not left:
        return None
    if summed:
        ids = np.moveaxis(ids, summed, range(len(summed)))
        ids = ids.reshape(-1, *ids.shape[len(summed) :])
        channels.tie(ids, ids[:1])  # what is summed over is coupled with what is left
        ids = ids[0]
    axes = [out.index(letter) for letter in left]
    order = np.argsort(axes)
    ids = ids.transpose(order)
    if ids.ndim > 1:
        channels.index_map(ids)
    return Tag(tuple(axes[i] for i in order), ids)


_ELEMENTWISE = (
    "add sub mul div subtract multiply divide true_divide floor_divide remainder fmod rsub pow float_power maximum "
    "minimum fmax fmin where masked_fill lerp addcmul addcdiv clamp clip clamp_min clamp_max gt ge lt le eq ne greater "
    "greater_equal less less_equal not_equal logical_and logical_or logical_xor bitwise_and bitwise_or atan2 hypot "
    "copysign xlogy heaviside"
).split()


def _tensors(values: Any) -> list[fx.Node]:
    return [v for v in values if isinstance(v, fx.Node) and metadata(v).is_tensor]


@channel_rule(
    operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod, operator.pow,
    operator.and_, operator.or_, operator.xor, operator.gt, operator.ge, operator.lt, operator.le, operator.eq,
    operator.ne, *everywhere(_ELEMENTWISE),
)  # fmt: skip
def _elementwise(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    if not metadata(node).is_tensor:
        return None
    shape = metadata(node).shape
    operands = []
    for value in dict.fromkeys(_tensors([*node.args, *node.kwargs.values()])):
        offset = len(shape) - rank(value)
        operands.append((value, range(offset, len(shape))))
    return combine(channels, node, operands, range(len(shape)))


@channel_rule(torch.matmul, "matmul", operator.matmul, torch.bmm, "bmm")
def _matmul(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    left, right = argument(node, 0, "input"), argument(node, 1, "mat2" if "bmm" in str(node.target) else "other")
    ranks = rank(left), rank(right)
    if min(ranks) < 2:
        refuse(channels, node, "multiplies by a vector")
        return None
    axes = rank(node)
    batch = list(range(axes - 2))
    first = [*batch[axes - ranks[0] :], "m", "k"]
    second = [*batch[axes - ranks[1] :], "k", "n"]
    out = [*batch, "m", "n"]
    _note_heads(channels, [(left, first), (right, second)], out)
    return combine(channels, node, [(left, first), (right, second)], out)


@channel_rule(torch.einsum)
def _einsum(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    equation, *operands = node.args
    if len(operands) == 1 and isinstance(operands[0], (tuple, list)):
        operands = list(operands[0])
    left, arrow, right = str(equation).replace(" ", "").partition("->")
    if not arrow or "." in left or any(len(set(part)) < len(part) for part in left.split(",")):
        refuse(channels, node, "an equation without '->', with '...' or with a diagonal")
        return None
    pairs = list(zip(_tensors(operands), [list(part) for part in left.split(",")], strict=True))
    _note_heads(channels, pairs, list(right))
    return combine(channels, node, pairs, list(right))


def _note_heads(channels: ChannelMap, operands: Sequence[tuple[fx.Node, Letters]], out: Letters) -> None:
    """Operands that are multiplied apart from each other along one axis of their channels (heads), and as wholes along
    another (what is in a head)."""
    apart = set(out).intersection(*[letters for _, letters in operands])
    for value, letters in operands:
        tag = channels.tag(value)
        if tag is not None and len({letters[axis] in apart for axis in tag.axes}) > 1:
            channels.heads.append(tag.ids)


@channel_rule(torch.cat, torch.concat)
def _cat(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    parts = [p for p in argument(node, 0, "tensors")]
    axis = argument(node, 1, "dim", 0) % rank(node)
    tags = [channels.tag(p) for p in parts]
    known = [t for t in tags if t is not None]
    if not known:
        return None
    if any(t.axes != known[0].axes for t in known):
        refuse(channels, node, "mixes different channel axes")
        return None
    if axis in known[0].axes:
        position = known[0].axes.index(axis)
        if len(known[0].axes) > 1 and len(known) < len(parts):
            refuse(channels, node, "concatenates unfollowed channels")
            return None
        why = reason_of(channels.module, node, "not followed up to here")
        all_ids = [
            channels.fixed(metadata(p).shape[axis], why) if t is None else t.ids
            for p, t in zip(parts, tags, strict=True)
        ]
        ids = np.concatenate(all_ids, position)
        if ids.ndim > 1:
            channels.index_map(ids)
        return Tag(known[0].axes, ids)
    if len(known) < len(parts):
        refuse(channels, node, "concatenates unfollowed channels")
        return None
    for other in known[1:]:
        channels.tie(known[0].ids, other.ids)
    return known[0]


@channel_rule(torch.stack)
def _stack(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    parts = list(argument(node, 0, "tensors"))
    axis = argument(node, 1, "dim", 0) % rank(node)
    tags = [channels.tag(p) for p in parts]
    known = [t for t in tags if t is not None]
    if len(known) < len(parts) or any(t.axes != known[0].axes for t in known):
        refuse(channels, node, "stacks unfollowed channels")
        return None
    for other in known[1:]:
        channels.tie(known[0].ids, other.ids)
    return Tag(tuple(a + (a >= axis) for a in known[0].axes), known[0].ids)
