"""Batch normalisation folded into the layer before it.

A normalisation with fixed statistics is a scale and a shift per channel; a convolution or linear layer whose result
only it reads can do both itself. Segments are folded before distillation and export, so that training and inference
compute the same.
"""

from __future__ import annotations

import copy
from typing import cast

import torch.nn as nn
from torch import Tensor, fx
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils.fusion import fuse_conv_bn_weights

from legodnn.builder.graph.layers import PRUNABLE, TRANSPOSED

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def fold_norms(module: fx.GraphModule) -> fx.GraphModule:
    """``module`` (eval mode) with every batch normalisation folded that directly follows its only feeder.

    Layers that are used more than once keep their normalisation. Nodes keep their metadata. Layers that are not folded
    are shared with ``module``, which is not changed.
    """
    module = fx.GraphModule(module, copy.deepcopy(module.graph), class_name="Segment").eval()
    uses: dict[str, int] = {}
    for node in module.graph.nodes:
        if node.op == "call_module":
            uses[str(node.target)] = uses.get(str(node.target), 0) + 1
    for node in list(module.graph.nodes):
        found = _feeder(module, node, uses)
        if found is None:
            continue
        feeder, layer, norm = found
        _replace(module, str(feeder.target), _fused(layer, norm))
        node.replace_all_uses_with(feeder)
        module.graph.erase_node(node)
    module.delete_all_unused_submodules()
    module.graph.lint()
    module.recompile()
    return module


def _feeder(
    module: fx.GraphModule, node: fx.Node, uses: dict[str, int]
) -> tuple[fx.Node, _ConvNd | nn.Linear, _BatchNorm] | None:
    """The node whose layer can take over the normalisation ``node``, if it is one and there is such a layer; with both
    modules."""
    if node.op != "call_module" or uses[str(node.target)] > 1 or not node.all_input_nodes:
        return None
    norm, feeder = module.get_submodule(str(node.target)), node.all_input_nodes[0]
    if not isinstance(norm, _NORMS) or norm.running_mean is None or feeder.op != "call_module":
        return None
    if uses[str(feeder.target)] > 1 or len(feeder.users) > 1:
        return None
    layer = module.get_submodule(str(feeder.target))
    if isinstance(layer, TRANSPOSED) and layer.groups > 1:
        return None
    if isinstance(layer, nn.Linear) and len(feeder.meta["value"].shape) != 2:
        return None
    return (feeder, layer, norm) if isinstance(layer, PRUNABLE) else None


def _fused(layer: _ConvNd | nn.Linear, norm: _BatchNorm) -> nn.Module:
    """A copy of ``layer`` that normalises as well; the old weight is not copied."""
    weight, bias = fuse_conv_bn_weights(  # a linear layer is a convolution of one point
        layer.weight, layer.bias, cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var), norm.eps,
        norm.weight, norm.bias, transpose=isinstance(layer, TRANSPOSED),
    )  # fmt: skip
    fused = copy.deepcopy(layer, {id(layer.weight): weight})
    fused.bias = bias
    return fused


def _replace(module: fx.GraphModule, name: str, layer: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(module.get_submodule(parent), child, layer.eval().requires_grad_(False))
