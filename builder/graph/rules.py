"""How channels travel through each layer and each operation that leaves them in their place.

A rule reads the channels of a node's inputs from the `ChannelMap`, says what is made, tied, consumed or protected, and
returns the channels of the node's value (None: not followed further). `rule_for` finds the rule of a node by the
layer's type, the function, or the method's name; an operation without a rule protects everything that enters it.
Operations on several tensors are in `legodnn.builder.graph.mixing`, those that move channels in
`legodnn.builder.graph.moving`; `channel_rule` is open to everybody.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import fx

from legodnn.builder.graph.channels import ChannelMap, Ids, Tag, describe, protect_all, refuse
from legodnn.builder.graph.values import facts

Rule = Callable[[ChannelMap, fx.Node, Any], "Tag | None"]
_RULES: dict[Any, Rule] = {}
_KINDS_OF_USERS: set[type] = set()


def rule_for(node: fx.Node, layer: nn.Module | None) -> Rule | None:
    """The rule of a node, or None where the operation is not known."""
    if layer is None:
        return _RULES.get(node.target)
    return next((_RULES[kind] for kind in type(layer).__mro__ if kind in _RULES), None)


def channel_rule(*operations: Any) -> Callable[[Rule], Rule]:
    """Decorator: teach the channel analysis an operation.

    ``operations`` are module classes (kept whole by the tracer from then on), functions, or names of tensor methods.
    The rule is called with the `ChannelMap`, the graph's node and the module (None for functions), and returns the
    `Tag` of the node's value, or None where its channels cannot be followed.
    """

    def register(rule: Rule) -> Rule:
        _RULES.update(dict.fromkeys(operations, rule))
        _KINDS_OF_USERS.update(o for o in operations if isinstance(o, type) and not o.__module__.startswith("torch."))
        return rule

    return register


def is_known_whole(layer: nn.Module) -> bool:
    """Whether a user taught the analysis this kind of module, so that it need not be looked into."""
    return not _KINDS_OF_USERS.isdisjoint(type(layer).__mro__)


def argument(node: fx.Node, position: int, name: str, default: Any = None) -> Any:
    """An argument of a call, given by position or by name."""
    return node.args[position] if len(node.args) > position else node.kwargs.get(name, default)


def source_of(node: fx.Node) -> Any:
    """What an operation works on: its first argument."""
    if node.args:
        return node.args[0]
    return node.kwargs.get("input") or next(iter(node.all_input_nodes), None)


def rank(value: Any) -> int:
    """The number of axes of a node's value."""
    return len(facts(value).shape)


# ---- layers that make channels ------------------------------------------------------------------------------------
@channel_rule(nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
def _conv(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    owner, source = str(node.target), channels.tag(source_of(node))
    transposed = isinstance(layer, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d)
    if source is not None and source.only_axis != 1:
        if source.axes == (0,):  # heads folded into the batch: every one goes through the same layer
            return source
        refuse(channels, node, "channels are not on axis 1")
        source = None
    per_group = max(layer.in_channels, layer.out_channels) // layer.groups
    if layer.groups > 1 and layer.groups > per_group:
        return _conv_of_many_groups(channels, node, layer, source)
    inner, outer = (0, 1) if transposed else (1, 0)
    if layer.groups == 1:
        if source is not None:
            channels.shrink(owner, "weight", inner, source.ids, "in")
        ids = channels.make(owner, "weight", outer, layer.out_channels)
    elif transposed:
        refuse(channels, node, "a transposed convolution of few groups")
        return None
    else:  # every group keeps as many channels as the others: the same positions go in all of them
        if source is not None:
            channels.shrink(owner, "weight", 1, _tied_groups(channels, source.ids, layer.groups), "in")
        ids = channels.make(owner, "weight", 0, layer.out_channels)
        _tied_groups(channels, ids, layer.groups)
    if layer.bias is not None:
        channels.shrink(owner, "bias", 0, ids, "carry")
    return Tag((1,), ids)


def _conv_of_many_groups(channels: ChannelMap, node: fx.Node, layer: Any, source: Tag | None) -> Tag:
    """Depth-wise convolution, and the like: whole groups go, on both sides."""
    owner, groups = str(node.target), layer.groups
    ids = np.arange(0) if source is None else source.ids.reshape(groups, -1)
    if source is None:
        ids = channels.fixed(groups, f"{describe(channels.module, node)}: reads unfollowed channels").reshape(-1, 1)
    channels.tie(ids, ids[:, :1])
    made = np.repeat(ids[:, 0], layer.out_channels // groups)
    channels.regrouped.add(owner)
    transposed = isinstance(layer, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d)
    channels.shrink(owner, "weight", 0, ids.ravel() if transposed else made, "carry")
    if layer.bias is not None:
        channels.shrink(owner, "bias", 0, made, "carry")
    return Tag((1,), made)


def _tied_groups(channels: ChannelMap, ids: Ids, groups: int) -> Ids:
    first = ids.reshape(groups, -1)[0]
    channels.tie(ids.reshape(groups, -1), first)
    return first


@channel_rule(nn.Linear)
def _linear(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    owner, source = str(node.target), channels.tag(source_of(node))
    last = rank(node) - 1
    if source is not None and source.only_axis != last:
        if last not in source.axes:
            return source  # the layer mixes another axis; the channels pass beside it
        refuse(channels, node, "its input's channels are taken apart")
        source = None
    if source is not None:
        channels.shrink(owner, "weight", 1, source.ids, "in")
    ids = channels.make(owner, "weight", 0, layer.out_features)
    if layer.bias is not None:
        channels.shrink(owner, "bias", 0, ids, "carry")
    return Tag((last,), ids)


# ---- layers that scale each channel -------------------------------------------------------------------------------
def carried(channels: ChannelMap, owner: str, layer: nn.Module, tag: Tag) -> Tag:
    """Every tensor of ``layer`` that has one entry a channel shrinks with them."""
    for name, value in [*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)]:
        if value is not None and value.dim() >= 1 and value.shape[0] == len(tag.ids):
            channels.shrink(owner, name, 0, tag.ids, "carry")
    return tag


@channel_rule(
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
    nn.GroupNorm,
)
def _norm(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    tag = channels.tag(source_of(node))
    if tag is None:
        return None
    if tag.only_axis != 1:
        refuse(channels, node, "channels are not on axis 1")
        return None
    if isinstance(layer, nn.GroupNorm):
        _tied_groups(channels, tag.ids, layer.num_groups)
    return carried(channels, str(node.target), layer, tag)


@channel_rule(nn.LayerNorm)
def _layer_norm(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    tag = channels.tag(source_of(node))
    if tag is None:
        return None
    normalised = len(layer.normalized_shape)
    if max(tag.axes) < rank(node) - normalised:
        return tag
    if normalised == 1 and len(tag.axes) == 1:
        return carried(channels, str(node.target), layer, tag)
    return _normalised(channels, node, tag, set(range(rank(node) - normalised, rank(node))))


@channel_rule(nn.PReLU)
def _prelu(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    tag = channels.tag(source_of(node))
    if tag is None or layer.num_parameters == 1:
        return tag
    if tag.only_axis != 1:
        refuse(channels, node, "channels are not on axis 1")
        return None
    return carried(channels, str(node.target), layer, tag)


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
    "hardshrink softshrink tanhshrink logsigmoid threshold rrelu dropout alpha_dropout abs neg exp log sqrt rsqrt "
    "square sin cos erf clamp clip clamp_min clamp_max clone contiguous detach float half double to type_as round "
    "floor ceil sign pow reciprocal nan_to_num zeros_like ones_like empty_like full_like"
).split()
_SPATIAL_FUNCTIONS = (
    "dropout1d dropout2d dropout3d feature_alpha_dropout max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d "
    "avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d "
    "adaptive_max_pool3d lp_pool1d lp_pool2d interpolate upsample"
).split()


def everywhere(names: Iterable[str]) -> list[Any]:
    """The same operation as a function of torch, of torch.nn.functional, and as a method."""
    found: list[Any] = []
    for name in names:
        found += [getattr(home, name) for home in (torch, F) if hasattr(home, name)]
        found += [name] if hasattr(torch.Tensor, name) else []
    return found


def _kinds(names: Iterable[str]) -> list[Any]:
    return [getattr(nn, name) for name in names if hasattr(nn, name)]


@channel_rule(*_kinds(_ACTIVATIONS), *everywhere(_FUNCTIONS), operator.neg, operator.pow)
def _keep(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    return channels.tag(source_of(node))


@channel_rule(*_kinds(_POOLS), *everywhere(_SPATIAL_FUNCTIONS))
def _spatial(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    tag = channels.tag(source_of(node))
    if tag is not None and max(tag.axes) > 1:
        refuse(channels, node, "mixes along the channel axis")
        return None
    return tag


@channel_rule(F.grid_sample)
def _grid_sample(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    tag = channels.tag(source_of(node))
    protect_all(channels, node.all_input_nodes[1:], f"{describe(channels.module, node)}: steers the sampling")
    if tag is None or tag.only_axis == 1:
        return tag
    refuse(channels, node, "channels are not on axis 1")
    return None


@channel_rule(
    *_kinds(
        [
            "ZeroPad1d",
            "ZeroPad2d",
            "ZeroPad3d",
            "ReflectionPad1d",
            "ReflectionPad2d",
            "ReflectionPad3d",
            "ReplicationPad1d",
            "ReplicationPad2d",
            "ReplicationPad3d",
            "ConstantPad1d",
            "ConstantPad2d",
            "ConstantPad3d",
        ]
    ),
    F.pad,
)
def _pad(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    tag = channels.tag(source_of(node))
    if tag is None:
        return None
    widths = argument(node, 1, "pad") if layer is None else layer.padding
    padded = {rank(node) - 1 - i // 2 for i, width in enumerate(widths) if width}
    if padded.isdisjoint(tag.axes):
        return tag
    refuse(channels, node, "pads the channel axis")
    return None


@channel_rule("roll", torch.roll, "flip", torch.flip)
def _roll(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    tag = channels.tag(source_of(node))
    given = argument(node, *((2, "dims") if "roll" in str(node.target) else (1, "dims")))
    moved = {d % rank(node) for d in ([given] if isinstance(given, int) else given or range(rank(node)))}
    if tag is None or moved.isdisjoint(tag.axes):
        return tag
    refuse(channels, node, "moves channels around")
    return None


@channel_rule(
    "mean",
    torch.mean,
    "sum",
    torch.sum,
    "amax",
    torch.amax,
    "amin",
    torch.amin,
    "std",
    torch.std,
    "var",
    torch.var,
    "max",
    torch.max,
    "min",
    torch.min,
    "norm",
    "prod",
)
def _reduce(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    source = source_of(node)
    tag = channels.tag(source)
    if tag is None:
        return None
    axes = rank(source)
    given = argument(node, 1, "dim")
    if isinstance(given, fx.Node):
        return _RULES[torch.maximum](channels, node, layer)  # the larger of two tensors, entry by entry
    reduced = {d % axes for d in ([given] if isinstance(given, int) else given or range(axes))}
    if not reduced.isdisjoint(tag.axes):
        refuse(channels, node, "reduces over the channels")
        return None
    if argument(node, 2, "keepdim", False):
        return tag
    return Tag(tuple(a - sum(d < a for d in reduced) for a in tag.axes), tag.ids)


@channel_rule(nn.Softmax, nn.LogSoftmax, nn.GLU, F.softmax, F.log_softmax, "softmax", "log_softmax", torch.softmax)
def _softmax(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    tag = channels.tag(source_of(node))
    if tag is None:
        return None
    axis = layer.dim if layer is not None else argument(node, 1, "dim", -1)
    return _normalised(channels, node, tag, set() if axis is None else {axis % rank(node)})


@channel_rule(F.normalize)
def _normalize(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    tag = channels.tag(source_of(node))
    return None if tag is None else _normalised(channels, node, tag, {argument(node, 2, "dim", 1) % rank(node)})


def _normalised(channels: ChannelMap, node: fx.Node, tag: Tag, over: set[int]) -> Tag | None:
    """Along normalised axes nothing may be missing: what lies along them goes together, or stays."""
    if over and over.isdisjoint(tag.axes):
        return tag
    left = [i for i, axis in enumerate(tag.axes) if axis not in over]
    if not over or not left:
        refuse(channels, node, "normalises over the channels")
        return None
    lines = np.moveaxis(tag.ids, left, range(len(left)))
    lines = lines.reshape(*lines.shape[: len(left)], -1)
    channels.tie(lines, lines[..., :1])
    return tag


@channel_rule("size", "dim", getattr)
def _sizes(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    if node.target is getattr and node.args[1] not in ("shape", "dtype", "device", "ndim"):
        protect_all(channels, node.all_input_nodes, f"{node.name}: reads '{node.args[1]}'")
    return None
