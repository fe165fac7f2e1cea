"""The channel analysis of a whole graph: every node's rule applied once, in order."""

from __future__ import annotations

from torch import fx

from legodnn.builder.graph.channels import ChannelMap, protect_all, refuse
from legodnn.builder.graph.rules import rule_for
from legodnn.builder.graph.trace import facts


def analyse(module: fx.GraphModule) -> ChannelMap:
    """Follow the channels through a traced graph whose nodes carry their facts (see `legodnn.builder.graph.trace`)."""
    channels = ChannelMap(module)
    for node in module.graph.nodes:
        if node.op == "placeholder":
            if len(facts(node).shape) >= 2:
                channels.enter(node, facts(node).shape[1])
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
    return channels
