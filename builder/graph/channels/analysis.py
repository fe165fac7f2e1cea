"""The channel analysis of a whole graph: every node's rule applied once, in order."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn as nn
from torch import fx

from legodnn.builder.graph.channels import mixing, moving, parts, reducing  # noqa: F401 (they register their rules)
from legodnn.builder.graph.channels.map import (
    ChannelMap,
    Reason,
    Tag,
    hold_weights,
    protect_all,
    reason_of,
    refuse,
)
from legodnn.builder.graph.channels.rules import is_own, rule_for
from legodnn.builder.graph.cuts import within
from legodnn.builder.graph.values import metadata

CHANNEL_AXES = "channel_axes"
"""The key of a node's ``meta`` that holds the axes its channels lie on."""


def analyse(module: fx.GraphModule, dense: Sequence[str] = ()) -> ChannelMap:
    """Follow the channels through a traced graph (see `legodnn.builder.graph.tracing.trace`).

    Layers in the modules called ``dense`` keep all their channels, and so does what is coupled with them.
    """
    channels = ChannelMap(module)
    for node in module.graph.nodes:
        if node.op == "placeholder":
            _enter(channels, node)
        elif node.op == "output":
            protect_all(channels, node.all_input_nodes, Reason("reaches the block's output"))
            channels.note_touch(node)
        elif node.op != "get_attr":
            layer = module.get_submodule(str(node.target)) if node.op == "call_module" else None
            tag = _follow(channels, node, layer)
            if tag is not None:
                channels.tags[node] = tag
            else:
                hold_weights(channels, node)
            channels.note_touch(node)
    channels.settle()
    for piece in channels.slices.values():
        for name in within(piece.owner, dense):
            channels.protect(piece.ids, Reason(f"'{name}' is to be left dense"))
    return channels


def _follow(channels: ChannelMap, node: fx.Node, layer: nn.Module | None) -> Tag | None:
    """The channels of a node's value, by its rule; None where there is no rule, or a rule that contradicts the value's
    shape."""
    rule = rule_for(node, layer)
    if rule is None:
        refuse(channels, node, "operation not known to the analysis")
        return None
    tag = rule(channels, node, layer)
    if tag is None and is_own(rule):
        refuse(channels, node, "its rule does not follow the channels")
    if tag is not None and metadata(node).is_tensor:
        shape = metadata(node).shape
        if max(tag.axes, default=-1) >= len(shape) or tuple(shape[axis] for axis in tag.axes) != tag.ids.shape:
            refuse(channels, node, "its rule and its result do not agree")
            channels.protect(tag.ids, reason_of(channels.module, node, "its rule and its result do not agree"))
            return None
    return tag


def _enter(channels: ChannelMap, node: fx.Node) -> None:
    """Follow the channels of an input from the axes that the whole network's analysis found; without one, from the last
    axis of sequences (n, length, channels) and axis 1 of anything else."""
    shape = metadata(node).shape
    axes = node.meta.get(CHANNEL_AXES, (2,) if len(shape) == 3 else (1,))
    if len(axes) == 1 and axes[0] < len(shape):
        channels.enter(node, axes[0], shape[axes[0]])
