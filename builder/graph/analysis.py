"""The channel analysis of a whole graph: every node's rule applied once, in order."""

from __future__ import annotations

from torch import fx

from legodnn.builder.graph import mixing, moving  # noqa: F401 (to be imported is to register their rules)
from legodnn.builder.graph.channels import ChannelMap, protect_all, refuse
from legodnn.builder.graph.rules import rule_for
from legodnn.builder.graph.values import facts

CHANNEL_AXES = "channel_axes"
"""Where a node's ``meta`` keeps the axes its channels lie on."""


def analyse(module: fx.GraphModule) -> ChannelMap:
    """Follow the channels through a traced graph whose nodes carry their facts (see `legodnn.builder.graph.trace`)."""
    channels = ChannelMap(module)
    for node in module.graph.nodes:
        if node.op == "placeholder":
            _enter(channels, node)
        elif node.op == "output":
            protect_all(channels, node.all_input_nodes, "reaches the block's output")
            channels.note_touch(node)
        elif node.op != "get_attr":
            layer = module.get_submodule(str(node.target)) if node.op == "call_module" else None
            rule = rule_for(node, layer)
            if rule is None:
                refuse(channels, node, "operation not known to the analysis")
            else:
                tag = rule(channels, node, layer)
                if tag is not None:
                    channels.tags[node] = tag
            channels.note_touch(node)
    channels.settle()
    return channels


def _enter(channels: ChannelMap, node: fx.Node) -> None:
    """The channels of an input; where nothing else is known, sequences keep them last and images first."""
    shape = facts(node).shape
    axes = node.meta.get(CHANNEL_AXES, (2,) if len(shape) == 3 else (1,))
    if len(axes) == 1 and axes[0] < len(shape):
        channels.enter(node, axes[0], shape[axes[0]])
