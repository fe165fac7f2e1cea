"""How channels travel through operations along axes: normalisations, softmax, reductions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import fx

from legodnn.builder.graph.channels.map import ChannelMap, Ids, Tag, reason_of, refuse
from legodnn.builder.graph.channels.rules import (
    argument,
    carried,
    channel_rule,
    everywhere,
    keep_layer,
    kinds,
    rank,
    rule_of,
    source_of,
    tied_groups,
)
from legodnn.builder.graph.values import metadata

# ---- normalisations -----------------------------------------------------------------------------------------------
_RANKS = {nn.InstanceNorm1d: 3, nn.InstanceNorm2d: 4, nn.InstanceNorm3d: 5}
"""Layers that also take images without a batch, and how many axes a batch has."""


@channel_rule(
    nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, nn.InstanceNorm1d, nn.InstanceNorm2d,
    nn.InstanceNorm3d, nn.GroupNorm,
)  # fmt: skip
def _norm(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    tag = channels.tag(source_of(node))
    if tag is None or tag.only_axis != 1 or rank(node) < _RANKS.get(type(layer), 2):
        keep_layer(channels, node, "channels are not on axis 1")
        return None
    if isinstance(layer, nn.GroupNorm):
        whole = _normalised_groups(channels, node, tag, layer.num_groups)
        if whole is not None:
            channels.describe(str(node.target), "num_groups", whole)
    return carried(channels, str(node.target), layer, tag)


@channel_rule(F.group_norm, F.instance_norm)
def _norm_without_weights(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    tag = channels.tag(source_of(node))
    if tag is None or tag.only_axis != 1 or len(node.all_input_nodes) > 1 or rank(node) < 3:
        refuse(channels, node, "channels are not on axis 1, or weights are computed")
        return None
    if node.target is F.group_norm:
        whole = _normalised_groups(channels, node, tag, argument(node, 1, "num_groups"))
        if whole is not None:
            channels.literal(node, (1 if len(node.args) > 1 else "num_groups",), whole)
    return tag


def _normalised_groups(channels: ChannelMap, node: fx.Node, tag: Tag, groups: int) -> Ids | None:
    """Couple the channels of a group normalisation so that what is left is normalised in the groups it was in.

    Whole groups are pruned where there are more groups than channels in each, as in convolutions, and where a group has
    no other entries than its channels, of which one alone would be normalised to zero: the first channel of each group
    is returned. Else all groups keep equally many channels (None).
    """
    per_group = len(tag.ids) // groups
    if groups == 1 or (groups <= per_group and math.prod(metadata(node).shape[2:]) > 1):
        tied_groups(channels, tag.ids, groups)
        return None
    members = tag.ids.reshape(groups, per_group)
    channels.tie(members, members[:, :1])
    return members[:, 0]


@channel_rule(nn.LayerNorm, *kinds(["RMSNorm"]))
def _layer_norm(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    tag = channels.tag(source_of(node))
    normalised = len(layer.normalized_shape)
    if tag is not None and normalised == 1 and tag.only_axis == rank(node) - 1:
        return carried(channels, str(node.target), layer, tag)
    channels.hold(str(node.target), reason_of(channels.module, node, "normalises other axes"))
    return None if tag is None else _normalised(channels, node, tag, set(range(rank(node) - normalised, rank(node))))


@channel_rule(F.layer_norm, *everywhere(["rms_norm"]))
def _layer_norm_without_weights(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    tag = channels.tag(source_of(node))
    if tag is None or len(node.all_input_nodes) > 1:
        refuse(channels, node, "weights are computed")
        return None
    normalised = len(argument(node, 1, "normalized_shape"))
    if normalised == 1 and tag.only_axis == rank(node) - 1:
        channels.literal(node, (1 if len(node.args) > 1 else "normalized_shape", 0), tag.ids)
        return tag
    return _normalised(channels, node, tag, set(range(rank(node) - normalised, rank(node))))


@channel_rule(nn.Softmax, nn.LogSoftmax, *everywhere(["softmax", "log_softmax"]))
def _softmax(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    tag = channels.tag(source_of(node))
    if tag is None:
        return None
    axis = layer.dim if layer is not None else argument(node, 1, "dim")
    return _normalised(channels, node, tag, set(range(rank(node))) if axis is None else {axis % rank(node)})


@channel_rule(F.normalize)
def _normalize(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    tag = channels.tag(source_of(node))
    return None if tag is None else _normalised(channels, node, tag, {argument(node, 2, "dim", 1) % rank(node)})


@channel_rule(*everywhere(["cumsum", "cumprod", "logcumsumexp"]))
def _running(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    tag = channels.tag(source_of(node))
    if tag is None or argument(node, 1, "dim") % rank(node) not in tag.axes:
        return tag
    refuse(channels, node, "adds up channels")
    return None


def _normalised(channels: ChannelMap, node: fx.Node, tag: Tag, over: set[int]) -> Tag | None:
    """The channels of a value normalised over the axes ``over``: pruning part of them would change the rest, so all
    that lies along them is coupled or not prunable."""
    if over.isdisjoint(tag.axes):
        return tag
    left = [i for i, axis in enumerate(tag.axes) if axis not in over]
    if not left:
        refuse(channels, node, "normalises over the channels")
        return None
    _whole_lines(channels, tag, left)
    return tag


def _whole_lines(channels: ChannelMap, tag: Tag, left: Sequence[int]) -> Ids:
    """One channel for each entry of the axes ``left`` of the ids: what lies across them is coupled with it."""
    lines = np.moveaxis(tag.ids, left, range(len(left)))
    lines = lines.reshape(*lines.shape[: len(left)], -1)
    channels.tie(lines, lines[..., :1])
    return lines[..., 0]


# ---- reductions ---------------------------------------------------------------------------------------------------
_DIM_SECOND = "mean sum nansum amax amin max min prod any all logsumexp".split()
_KEEPDIM_FOURTH = "std var".split()
_DIM_THIRD = ["norm"]


@channel_rule(*everywhere([*_DIM_SECOND, *_KEEPDIM_FOURTH, *_DIM_THIRD]))
def _reduce(channels: ChannelMap, node: fx.Node, layer: Any) -> Tag | None:
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    if isinstance(argument(node, 1, "other"), fx.Node):  # the larger of two tensors, entry by entry
        return rule_of(torch.maximum)(channels, node, layer)
    source = source_of(node)
    tag = channels.tag(source)
    if tag is None:
        return None
    axes = rank(source)
    given = argument(node, 2 if name in _DIM_THIRD else 1, "dim")
    if isinstance(given, bool) or given is None or given in ((), []):  # `x.var(False)` reduces everything
        given = range(axes)
    reduced = {d % axes for d in ([given] if isinstance(given, int) else given)}
    left = [i for i, axis in enumerate(tag.axes) if axis not in reduced]
    if not left:
        refuse(channels, node, "reduces over the channels")
        return None
    ids = _whole_lines(channels, tag, left)
    shift = 0 if _keeps_axes(node, axes) else 1
    return Tag(tuple(a - shift * sum(d < a for d in reduced) for a in (tag.axes[i] for i in left)), ids)


def _keeps_axes(node: fx.Node, axes: int) -> bool:
    """Whether reduced axes are kept with size 1; for operations with two results (``max``) the arguments say so."""
    return rank(node) == axes if metadata(node).is_tensor else bool(argument(node, 2, "keepdim", False))
