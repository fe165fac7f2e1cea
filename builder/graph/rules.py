"""How channels travel through each operation.

A rule reads the channels of a node's inputs from the `ChannelMap`, says what is made, tied, consumed or protected, and
returns the channels of the node's value (None: not followed further). `rule_for` finds the rule of a node by the
layer's type, the function, or the method's name; an operation without a rule protects everything that enters it.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import fx

from legodnn.builder.graph.channels import ChannelMap, Ids, Tag, describe, protect_all, refuse
from legodnn.builder.graph.trace import facts

Rule = Callable[[ChannelMap, fx.Node, Any], "Tag | None"]
_RULES: dict[Any, Rule] = {}


def rule_for(node: fx.Node, layer: nn.Module | None) -> Rule | None:
    """The rule of a node, or None where the operation is not known."""
    if layer is None:
        return _RULES.get(node.target)
    return next((_RULES[kind] for kind in type(layer).__mro__ if kind in _RULES), None)


def _rule(*operations: Any) -> Callable[[Rule], Rule]:
    def register(rule: Rule) -> Rule:
        _RULES.update(dict.fromkeys(operations, rule))
        return rule

    return register


def argument(node: fx.Node, position: int, name: str, default: Any = None) -> Any:
    """An argument of a call, given by position or by name."""
    return node.args[position] if len(node.args) > position else node.kwargs.get(name, default)


def _source(node: fx.Node) -> Any:
    if node.args:
        return node.args[0]
    return node.kwargs.get("input") or next(iter(node.all_input_nodes), None)


# ---- layers that make channels ------------------------------------------------------------------------------------
def _spread(ids: Ids, groups: int) -> tuple[Ids, ...]:
    return tuple(np.split(ids, groups))


def _tie_groups(channels: ChannelMap, ids: Ids, groups: int) -> Ids:
    """Every group must keep as many channels as the others: the same positions go in all of them."""
    first, *others = _spread(ids, groups)
    for other in others:
        channels.tie(first, other)
    return first


@_rule(nn.Conv1d, nn.Conv2d, nn.Conv3d)
def _conv(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag:
    owner, source = str(node.target), channels.tag(_source(node))
    if source is not None and source.axis != 1:
        channels.protect(source.ids, f"{describe(channels.module, node)}: channels are not on axis 1")
        source = None
    if source is not None and layer.groups == layer.in_channels > 1:
        ids = np.repeat(source.ids, layer.out_channels // layer.in_channels)
        return _carried(channels, owner, layer, Tag(1, ids))
    if source is not None:
        channels.shrink(owner, "weight", 1, _tie_groups(channels, source.ids, layer.groups), "in")
    ids = channels.make(owner, "weight", 0, layer.out_channels)
    _tie_groups(channels, ids, layer.groups)
    if layer.bias is not None:
        channels.shrink(owner, "bias", 0, ids, "carry")
    return Tag(1, ids)


@_rule(nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
def _conv_transpose(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    owner, source = str(node.target), channels.tag(_source(node))
    if layer.groups == 1:
        if source is not None and source.axis == 1:
            channels.shrink(owner, "weight", 0, source.ids, "in")
        ids = channels.make(owner, "weight", 1, layer.out_channels)
        if layer.bias is not None:
            channels.shrink(owner, "bias", 0, ids, "carry")
        return Tag(1, ids)
    if source is not None and source.axis == 1 and layer.groups == layer.in_channels == layer.out_channels:
        return _carried(channels, owner, layer, source)
    refuse(channels, node, "grouped transposed convolution")
    return None


@_rule(nn.Linear)
def _linear(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    owner, source = str(node.target), channels.tag(_source(node))
    last = len(facts(node).shape) - 1
    if source is not None and source.axis != last:
        return source  # the layer mixes another axis; the channels pass beside it
    if source is not None:
        channels.shrink(owner, "weight", 1, source.ids, "in")
    ids = channels.make(owner, "weight", 0, layer.out_features)
    if layer.bias is not None:
        channels.shrink(owner, "bias", 0, ids, "carry")
    return Tag(last, ids)


# ---- layers that scale each channel -------------------------------------------------------------------------------
def _carried(channels: ChannelMap, owner: str, layer: nn.Module, tag: Tag) -> Tag:
    """Every tensor of ``layer`` that has one entry a channel shrinks with them."""
    for name, value in [*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)]:
        if value is not None and value.dim() >= 1 and value.shape[0] == len(tag.ids):
            channels.shrink(owner, name, 0, tag.ids, "carry")
    return tag


@_rule(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
def _norm(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    tag = channels.tag(_source(node))
    if tag is None:
        return None
    if tag.axis != 1:
        refuse(channels, node, "channels are not on axis 1")
        return None
    return _carried(channels, str(node.target), layer, tag)


@_rule(nn.GroupNorm)
def _group_norm(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    tag = _norm(channels, node, layer)
    if tag is not None:
        _tie_groups(channels, tag.ids, layer.num_groups)
    return tag


@_rule(nn.LayerNorm)
def _layer_norm(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    tag = channels.tag(_source(node))
    if tag is None:
        return None
    rank, normalised = len(facts(node).shape), len(layer.normalized_shape)
    if tag.axis < rank - normalised:
        return tag
    if normalised == 1:
        return _carried(channels, str(node.target), layer, tag)
    refuse(channels, node, "normalises over channels and positions together")
    return None


@_rule(nn.PReLU)
def _prelu(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    tag = channels.tag(_source(node))
    if tag is None or layer.num_parameters == 1:
        return tag
    return _carried(channels, str(node.target), layer, tag)


# ---- operations that leave the channels where they are ------------------------------------------------------------
_ACTIVATIONS = (
    "ReLU ReLU6 LeakyReLU ELU SELU CELU GELU SiLU Mish Sigmoid Tanh Softplus Softsign Hardswish Hardsigmoid Hardtanh "
    "Hardshrink Softshrink Tanhshrink LogSigmoid Threshold RReLU Identity Dropout Dropout1d Dropout2d Dropout3d "
    "AlphaDropout FeatureAlphaDropout"
).split()
_POOLS = (
    "MaxPool1d MaxPool2d MaxPool3d AvgPool1d AvgPool2d AvgPool3d LPPool1d LPPool2d AdaptiveAvgPool1d AdaptiveAvgPool2d "
    "AdaptiveAvgPool3d AdaptiveMaxPool1d AdaptiveMaxPool2d AdaptiveMaxPool3d Upsample UpsamplingNearest2d "
    "UpsamplingBilinear2d"
).split()
_FUNCTIONS = (
    "relu relu6 leaky_relu elu selu celu gelu silu mish sigmoid tanh softplus softsign hardswish hardsigmoid hardtanh "
    "hardshrink softshrink tanhshrink logsigmoid threshold rrelu dropout dropout1d dropout2d dropout3d alpha_dropout "
    "feature_alpha_dropout max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d "
    "adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d interpolate "
    "abs neg exp log sqrt rsqrt square sin cos erf clamp clip clone contiguous detach float round floor ceil sign pow"
).split()


def _everywhere(names: Iterable[str]) -> list[Any]:
    """The same operation as a function of torch, of torch.nn.functional, and as a method."""
    found: list[Any] = []
    for name in names:
        found += [getattr(home, name) for home in (torch, F) if hasattr(home, name)]
        found += [name] if hasattr(torch.Tensor, name) else []
    return found


def _kinds(names: Iterable[str]) -> list[Any]:
    return [getattr(nn, name) for name in names if hasattr(nn, name)]


@_rule(*_kinds(_ACTIVATIONS), *_kinds(_POOLS), *_everywhere(_FUNCTIONS), operator.neg, operator.pow)
def _keep(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    return channels.tag(_source(node))


@_rule(*_kinds(["ZeroPad1d", "ZeroPad2d", "ZeroPad3d", "ReflectionPad1d", "ReflectionPad2d", "ReplicationPad1d",
                "ReplicationPad2d", "ReplicationPad3d", "ConstantPad1d", "ConstantPad2d", "ConstantPad3d"]), F.pad)
def _pad(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    tag = channels.tag(_source(node))
    if tag is None:
        return None
    widths = argument(node, 1, "pad") if layer is None else layer.padding
    if len(widths) >= 2 * (len(facts(node).shape) - tag.axis):
        refuse(channels, node, "pads the channel axis")
        return None
    return tag


# ---- operations on several tensors --------------------------------------------------------------------------------
@_rule(operator.add, operator.sub, operator.mul, operator.truediv, torch.add, torch.sub, torch.mul, torch.div,
       torch.maximum, torch.minimum, "add", "sub", "mul", "div", "maximum", "minimum")
def _elementwise(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    operands = [a for a in node.args[:2] if isinstance(a, fx.Node) and facts(a).is_tensor]
    shape = facts(node).shape
    tags = [(a, t) for a in operands if (t := channels.tag(a)) is not None]
    if not tags:
        return None
    aligned = [Tag(t.axis + len(shape) - len(facts(a).shape), t.ids) for a, t in tags]
    main = max(aligned, key=lambda t: len(t.ids))
    if any(t.axis != main.axis for t in aligned):
        refuse(channels, node, "mixes different channel axes")
        return None
    for tag in aligned:
        if len(tag.ids) == len(main.ids):
            channels.tie(main.ids, tag.ids)
    followed = {a for a, _ in tags}
    for other in operands:
        if other not in followed and not _fits_beside(channels, node, other, main):
            return None
    return main


def _fits_beside(channels: ChannelMap, node: fx.Node, other: fx.Node, main: Tag) -> bool:
    """A tensor without followed channels may stand beside them if it is constant along them or a parameter."""
    shape, rank = facts(other).shape, len(facts(node).shape)
    axis = main.axis - (rank - len(shape))
    if axis < 0 or shape[axis] == 1:
        return True
    if other.op == "get_attr":
        owner, _, name = str(other.target).rpartition(".")
        channels.shrink(owner, name, axis, main.ids, "carry")
        return True
    refuse(channels, node, "mixes followed and unfollowed channels")
    return False


@_rule(torch.cat, torch.concat)
def _cat(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    parts = list(argument(node, 0, "tensors"))
    axis = argument(node, 1, "dim", 0) % len(facts(node).shape)
    tags = [channels.tag(p) for p in parts]
    if any(t is None for t in tags):
        refuse(channels, node, "concatenates unfollowed channels")
        return None
    known = [t for t in tags if t is not None]
    if all(t.axis == axis for t in known):
        return Tag(axis, np.concatenate([t.ids for t in known]))
    if any(t.axis != known[0].axis for t in known):
        refuse(channels, node, "mixes different channel axes")
        return None
    for other in known[1:]:
        channels.tie(known[0].ids, other.ids)
    return known[0]


@_rule(torch.chunk, "chunk", torch.split, "split")
def _chunks(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    return channels.tag(_source(node))  # whole; `getitem` takes each part's share


@_rule(operator.getitem)
def _getitem(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    source, index = node.args[0], node.args[1]
    tag = channels.tag(source)
    if tag is None or not isinstance(source, fx.Node):
        return None
    if source.target not in (torch.chunk, "chunk", torch.split, "split") or not isinstance(index, int):
        refuse(channels, node, "indexes a tensor")
        return None
    size = argument(source, 1, "chunks" if "chunk" in str(source.target) else "split_size_or_sections")
    axis = argument(source, 2, "dim", 0) % len(facts(node).shape)
    if axis != tag.axis:
        return tag
    return _part(channels, source, tag, index, size)


def _part(channels: ChannelMap, source: fx.Node, tag: Tag, index: int, size: Any) -> Tag | None:
    total = len(tag.ids)
    parts_by_count = "chunk" in str(source.target)
    if isinstance(size, (list, tuple)) and all(isinstance(s, int) for s in size):
        ends = np.cumsum(size)
        ids = tag.ids[ends[index] - size[index] : ends[index]]
        channels.literal(source, (1, index), ids)
        return Tag(tag.axis, ids)
    if not isinstance(size, int):
        refuse(channels, source, "splits into sizes computed at run time")
        return None
    width = math.ceil(total / size) if parts_by_count else size
    if total % width:
        refuse(channels, source, "splits into unequal parts")
        return None
    first = _tie_groups(channels, tag.ids, total // width)
    if not parts_by_count:
        channels.literal(source, (1,), first)
    return Tag(tag.axis, _spread(tag.ids, total // width)[index])


# ---- operations that reshape --------------------------------------------------------------------------------------
@_rule(torch.flatten, "flatten", "view", "reshape", torch.reshape, nn.Flatten, "squeeze", "unsqueeze", torch.squeeze,
       torch.unsqueeze)
def _reshape(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    source = _source(node)
    tag = channels.tag(source)
    if tag is None:
        return None
    before, after = facts(source).shape, facts(node).shape
    outer, inner = math.prod(before[: tag.axis]), math.prod(before[tag.axis + 1 :])
    for axis in range(1, len(after)):
        repeats, rest = divmod(after[axis], len(tag.ids))
        if math.prod(after[:axis]) == outer and not rest and inner % repeats == 0:
            ids = np.repeat(tag.ids, repeats)
            _note_literal(channels, node, axis, ids)
            return Tag(axis, ids)
    refuse(channels, node, "takes the channel axis apart")
    return None


def _note_literal(channels: ChannelMap, node: fx.Node, axis: int, ids: Ids) -> None:
    if node.target not in ("view", "reshape", torch.reshape):
        return
    sizes, path = (node.args[1], (1,)) if isinstance(node.args[1], (list, tuple)) else (node.args[1:], ())
    size = sizes[axis]
    if isinstance(size, int) and size > 0:
        channels.literal(node, (*path, axis) if path else (axis + 1,), ids)


@_rule("permute", torch.permute, "transpose", torch.transpose)
def _permute(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    tag = channels.tag(_source(node))
    if tag is None:
        return None
    rank = len(facts(node).shape)
    if node.target in ("transpose", torch.transpose):
        a, b = argument(node, 1, "dim0") % rank, argument(node, 2, "dim1") % rank
        order = list(range(rank))
        order[a], order[b] = b, a
    else:
        given = argument(node, 1, "dims")
        order = [d % rank for d in (given if isinstance(given, (list, tuple)) else node.args[1:])]
    return Tag(order.index(tag.axis), tag.ids)


@_rule("mean", torch.mean, "sum", torch.sum, "amax", torch.amax)
def _reduce(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    source = _source(node)
    tag = channels.tag(source)
    if tag is None:
        return None
    rank = len(facts(source).shape)
    given = argument(node, 1, "dim")
    reduced = {d % rank for d in ([given] if isinstance(given, int) else given or range(rank))}
    if tag.axis in reduced:
        refuse(channels, node, "reduces over the channels")
        return None
    if argument(node, 2, "keepdim", False):
        return tag
    return Tag(tag.axis - sum(d < tag.axis for d in reduced), tag.ids)


@_rule(nn.Softmax, nn.LogSoftmax, F.softmax, F.log_softmax, "softmax", "log_softmax", torch.softmax)
def _softmax(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    tag = channels.tag(_source(node))
    if tag is None:
        return None
    axis = layer.dim if layer is not None else argument(node, 1, "dim", -1)
    if axis is None or axis % len(facts(node).shape) == tag.axis:
        refuse(channels, node, "normalises over the channels")
        return None
    return tag


@_rule("size", "dim", getattr)
def _sizes(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    if node.target is getattr and node.args[1] not in ("shape", "dtype", "device", "ndim"):
        protect_all(channels, node.all_input_nodes, f"{node.name}: reads '{node.args[1]}'")
    return None
