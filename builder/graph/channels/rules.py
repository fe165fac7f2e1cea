"""How channels travel through each layer and each operation that does not move them.

A rule reads the channels of a node's inputs from the `ChannelMap`, records what is made, coupled, consumed or not
prunable, and returns the channels of the node's value (None: not followed further). `rule_for` finds the rule of a node
by the layer's type, the function, or the method's name; what enters an operation without a rule is not prunable.
Operations on several tensors are in `legodnn.builder.graph.channels.mixing`, those that move channels in
`legodnn.builder.graph.channels.moving`; `channel_rule` registers rules of a user's own.
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

from legodnn.builder.graph.channels.map import ChannelMap, Ids, Tag, protect_all, reason_of, refuse
from legodnn.builder.graph.layers import CONVOLUTIONS, TRANSPOSED
from legodnn.builder.graph.values import metadata

Rule = Callable[[ChannelMap, fx.Node, Any], "Tag | None"]
_RULES: dict[Any, Rule] = {}
_KINDS_OF_USERS: set[type] = set()


def rule_for(node: fx.Node, layer: nn.Module | None) -> Rule | None:
    """The rule of a node, or None where the operation is not known."""
    if layer is None:
        return _RULES.get(node.target)
    return next((_RULES[kind] for kind in type(layer).__mro__ if kind in _RULES), None)


def rule_of(operation: Any) -> Rule:
    """The rule of an operation that has one."""
    return _RULES[operation]


def channel_rule(*operations: Any) -> Callable[[Rule], Rule]:
    """Decorator: register a rule of the channel analysis.

    ``operations`` are module classes (kept whole by the tracer from then on), functions, or names of tensor methods.
    The rule is called with the `ChannelMap`, the graph's node and the module (None for functions), and returns the
    `Tag` of the node's value, or None where its channels cannot be followed.
    """

    def register(rule: Rule) -> Rule:
        _RULES.update(dict.fromkeys(operations, rule))
        _KINDS_OF_USERS.update(o for o in operations if isinstance(o, type) and not o.__module__.startswith("torch."))
        return rule

    return register


def own_rules() -> list[Rule]:
    """The rules that users registered, each once."""
    return [rule for rule in dict.fromkeys(_RULES.values()) if is_own(rule)]


def is_own(rule: Rule) -> bool:
    """Whether a user registered the rule. Where it returns None, nothing that enters the operation is prunable."""
    return (rule.__module__ or "").partition(".")[0] != "legodnn"


def is_known_whole(layer: nn.Module) -> bool:
    """Whether a user registered a rule for this kind of module, so that the tracer keeps it whole."""
    return not _KINDS_OF_USERS.isdisjoint(type(layer).__mro__)


_NUMPY_NAMES = {"dim": "axis", "keepdim": "keepdims", "other": "x2"}


def argument(node: fx.Node, position: int, name: str, default: Any = None) -> Any:
    """An argument of a call, given by position or by name (torch's own, or NumPy's, which torch takes as well)."""
    if len(node.args) > position:
        return node.args[position]
    return node.kwargs.get(name, node.kwargs.get(_NUMPY_NAMES.get(name, name), default))


def source_of(node: fx.Node) -> Any:
    """The first argument of an operation; None where it has none."""
    if node.args:
        return node.args[0]
    return node.kwargs.get("input") or next(iter(node.all_input_nodes), None)


def rank(value: Any) -> int:
    """The number of axes of a node's value."""
    return len(metadata(value).shape)


# ---- layers that make channels ------------------------------------------------------------------------------------
@channel_rule(*CONVOLUTIONS, *TRANSPOSED)
def _conv(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    owner, source = str(node.target), channels.tag(source_of(node))
    transposed = isinstance(layer, TRANSPOSED)
    if rank(node) != len(layer.kernel_size) + 2:
        keep_layer(channels, node, "reads an image without a batch")
        return None
    if source is not None and source.only_axis != 1:
        if source.axes == (0,):  # heads folded into the batch: the layer is applied to each
            channels.hold(owner, reason_of(channels.module, node, "works inside of channels"))
            return source
        refuse(channels, node, "channels are not on axis 1, it mixes neighbouring ones")
        source = None
    per_group = max(layer.in_channels, layer.out_channels) // layer.groups
    if layer.groups > 1 and layer.groups > per_group:
        return _conv_of_many_groups(channels, node, layer, source)
    inner, outer = (0, 1) if transposed else (1, 0)
    if source is None:
        _hold_inputs(channels, node, inner)
    if layer.groups == 1:
        if source is not None:
            channels.shrink(owner, "weight", inner, source.ids, "in")
        ids = channels.make(owner, "weight", outer, layer.out_channels)
    elif transposed:  # its weight holds one group's outputs only
        if source is not None:
            tied_groups(channels, source.ids, layer.groups)
            channels.shrink(owner, "weight", 0, source.ids, "in")
        ids = np.tile(channels.make(owner, "weight", 1, layer.out_channels // layer.groups), layer.groups)
    else:  # all groups keep equally many channels: the same positions are pruned in each
        if source is not None:
            channels.shrink(owner, "weight", 1, tied_groups(channels, source.ids, layer.groups), "in")
        ids = channels.make(owner, "weight", 0, layer.out_channels)
        tied_groups(channels, ids, layer.groups)
    if layer.bias is not None:
        channels.shrink(owner, "bias", 0, ids, "carry")
    return Tag((1,), ids)


def _conv_of_many_groups(channels: ChannelMap, node: fx.Node, layer: Any, source: Tag | None) -> Tag:
    """A depth-wise convolution, or one with more groups than channels in a group: whole groups are pruned, on both
    sides."""
    owner, groups = str(node.target), layer.groups
    if source is None:
        ids = channels.fixed(layer.in_channels, reason_of(channels.module, node, "reads unfollowed channels"))
    else:
        ids = source.ids
    ids = ids.reshape(groups, -1)
    channels.tie(ids, ids[:, :1])
    made = np.repeat(ids[:, 0], layer.out_channels // groups)
    channels.regrouped.add(owner)
    transposed = isinstance(layer, TRANSPOSED)
    channels.shrink(owner, "weight", 0, ids.ravel() if transposed else made, "carry")
    if layer.bias is not None:
        channels.shrink(owner, "bias", 0, made, "carry")
    return Tag((1,), made)


def _hold_inputs(channels: ChannelMap, node: fx.Node, axis: int) -> None:
    """A layer that reads channels that are not followed keeps all its inputs, in its other uses as well."""
    channels.hold(str(node.target), reason_of(channels.module, node, "reads unfollowed channels"), "weight", axis)


def keep_layer(channels: ChannelMap, node: fx.Node, why: str) -> None:
    """Make a layer's inputs, and what its other calls make, read or scale, not prunable; its result is not followed."""
    refuse(channels, node, why)
    channels.hold(str(node.target), reason_of(channels.module, node, why))


def tied_groups(channels: ChannelMap, ids: Ids, groups: int) -> Ids:
    """The channels of the first of ``groups`` groups; the others' are coupled with them, position by position."""
    first: Ids = ids.reshape(groups, -1)[0]
    channels.tie(ids.reshape(groups, -1), first)
    return first


@channel_rule(nn.Linear)
def _linear(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    owner, source = str(node.target), channels.tag(source_of(node))
    last = rank(node) - 1
    if source is not None and source.only_axis != last:
        if last not in source.axes:  # the layer mixes another axis and leaves the channels alone
            channels.hold(owner, reason_of(channels.module, node, "mixes another axis"))
            return source
        refuse(channels, node, "its input's channels are taken apart")
        source = None
    if source is None:
        _hold_inputs(channels, node, 1)
    else:
        channels.shrink(owner, "weight", 1, source.ids, "in")
    ids = channels.make(owner, "weight", 0, layer.out_features)
    if layer.bias is not None:
        channels.shrink(owner, "bias", 0, ids, "carry")
    return Tag((last,), ids)


# ---- layers that scale each channel -------------------------------------------------------------------------------
_SIZES = ("num_features", "num_channels", "num_parameters", "normalized_shape")


def carried(channels: ChannelMap, owner: str, layer: nn.Module, tag: Tag) -> Tag:
    """Every tensor of ``layer`` with one entry for each channel shrinks with the channels, and so do its attributes
    that count them."""
    for name in _SIZES:
        if getattr(layer, name, None) in (len(tag.ids), (len(tag.ids),)):
            channels.describe(owner, name, tag.ids)
    for name, value in [*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)]:
        if value is not None and value.dim() >= 1 and value.shape[0] == len(tag.ids):
            channels.shrink(owner, name, 0, tag.ids, "carry")
    return tag


@channel_rule(nn.PReLU)
def _prelu(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    tag = channels.tag(source_of(node))
    if layer.num_parameters == 1:
        return tag
    if tag is None or tag.only_axis != 1:
        keep_layer(channels, node, "channels are not on axis 1")
        return None
    return carried(channels, str(node.target), layer, tag)


# ---- operations that do not move channels ----------------------------------------------------------------------------
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
    "square sin cos erf clone contiguous detach float half double bool int long to type_as round floor ceil sign "
    "reciprocal nan_to_num zeros_like ones_like empty_like full_like expm1 log1p isnan isfinite isinf logical_not"
).split()
_SPATIAL_FUNCTIONS = (
    "dropout1d dropout2d dropout3d feature_alpha_dropout max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d "
    "avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d "
    "adaptive_max_pool3d lp_pool1d lp_pool2d interpolate upsample"
).split()


def everywhere(names: Iterable[str]) -> list[Any]:
    """The operations with these names: functions of torch and of torch.nn.functional, and names of tensor methods."""
    found: list[Any] = []
    for name in names:
        found += [getattr(owner, name) for owner in (torch, F) if hasattr(owner, name)]
        found += [name] if hasattr(torch.Tensor, name) else []
    return found


def kinds(names: Iterable[str]) -> list[Any]:
    """The classes of layers with these names, as far as this torch has them."""
    return [getattr(nn, name) for name in names if hasattr(nn, name)]


@channel_rule(*kinds(_ACTIVATIONS), *everywhere(_FUNCTIONS), operator.neg, operator.invert, abs)
def _keep(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    return channels.tag(source_of(node))


@channel_rule(*kinds(_POOLS), *everywhere(_SPATIAL_FUNCTIONS))
def _spatial(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    source = source_of(node)
    tag = channels.tag(source)
    if tag is not None and max(tag.axes) >= _first_pooled(node, layer, rank(source)):
        refuse(channels, node, "mixes along the channel axis")
        return None
    return tag


def _first_pooled(node: fx.Node, layer: Any, axes: int) -> int:
    """The first of the axes an operation works on: as many as its name says, or all behind the channels."""
    name = type(layer).__name__ if layer is not None else getattr(node.target, "__name__", str(node.target))
    return axes - int(name[-2]) if name[-2].isdigit() and name[-1] == "d" else 2


@channel_rule(F.grid_sample)
def _grid_sample(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    tag = channels.tag(source_of(node))
    protect_all(channels, node.all_input_nodes[1:], reason_of(channels.module, node, "steers the sampling"))
    if tag is None or tag.only_axis == 1:
        return tag
    refuse(channels, node, "channels are not on axis 1")
    return None


@channel_rule(
    *kinds(
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


@channel_rule("size", "dim", getattr)
def _sizes(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    if node.target is getattr and node.args[1] == "mT":
        return rule_of("transpose")(channels, node, layer)
    if node.target is getattr and node.args[1] not in ("shape", "dtype", "device", "ndim"):
        protect_all(channels, node.all_input_nodes, reason_of(channels.module, node, f"reads '{node.args[1]}'"))
    return None
