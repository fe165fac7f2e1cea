"""Least-squares reconstruction: layers that read pruned channels are solved against the original's output.

Channel pruning by reconstruction (He, Zhang and Sun, *Channel pruning for accelerating very deep neural networks*, ICCV
2017), with two changes. The inputs of the fit are the descendant's own activations, layer after layer, so that each
layer also corrects the error of those before it; and where a layer's output is added to another value, the *sum* is
fitted, which corrects the error of the block's input.
"""

from __future__ import annotations

import operator
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor, fx

from legodnn.builder.graph.channels.map import ChannelMap
from legodnn.builder.graph.layers import CONVOLUTIONS
from legodnn.builder.prune.derive import Descendant

POSITIONS = 64
"""Random positions of a feature map that are sampled from every image; bounds time and memory. Not tuned."""

RIDGE = 1e-2
"""Ridge penalty on the distance from the pruned weights, relative to the mean square of the layer's inputs. Not
tuned."""

MAX_COLUMNS = 8192
"""Layers with more weights per output than this are left to the gradient step: solving takes time in the cube of it.
Not tuned."""

_FITTED = (*CONVOLUTIONS, nn.Linear)


@dataclass(frozen=True)
class Sample:
    """A batch of block inputs: the descendant's, and the teacher's for the same images, of one shape."""

    seen: Tensor
    taught: Tensor


@dataclass(frozen=True)
class _Target:
    """A layer to fit: its node, the node it reads, the node whose value is fitted, and the node of the other
    summand."""

    layer: str
    node: str
    reads: str
    matched: str
    addend: str | None


def fit(original: fx.GraphModule, descendant: Descendant, channels: ChannelMap, samples: Sequence[Sample]) -> None:
    """Solve, in graph order, every layer of ``descendant`` that lost inputs; its weights are changed in place.

    ``original`` is the folded block, ``channels`` its analysis.
    """
    for target in _targets(original, descendant, channels):
        layer: Any = descendant.module.get_submodule(target.layer)
        if layer.weight[0].numel() <= MAX_COLUMNS:
            _solve(original, descendant, target, layer, samples)


def _targets(original: fx.GraphModule, descendant: Descendant, channels: ChannelMap) -> list[_Target]:
    lost = {owner for owner, parameter, axis in descendant.kept if channels.slices[owner, parameter, axis].role == "in"}
    uses = [str(n.target) for n in original.graph.nodes if n.op == "call_module"]
    targets = []
    for node in original.graph.nodes:
        if node.op != "call_module" or str(node.target) not in lost or uses.count(str(node.target)) > 1:
            continue
        if isinstance(original.get_submodule(str(node.target)), _FITTED):
            addition = _addition_after(node)
            matched, addend = addition if addition else (node, None)
            reads = node.all_input_nodes[0].name
            targets.append(_Target(str(node.target), node.name, reads, matched.name, addend.name if addend else None))
    return targets


def _addition_after(node: fx.Node) -> tuple[fx.Node, fx.Node] | None:
    """The addition that alone reads a node's value, and the other summand, where both have one shape; else None."""
    if len(node.users) != 1:
        return None
    addition = next(iter(node.users))
    if addition.target not in (operator.add, torch.add) or len(addition.all_input_nodes) != 2:
        return None
    other = next(n for n in addition.all_input_nodes if n is not node)
    if other.meta["value"].shape != node.meta["value"].shape:
        return None
    return addition, other


def _solve(
    original: fx.GraphModule, descendant: Descendant, target: _Target, layer: Any, samples: Sequence[Sample]
) -> None:
    kept = descendant.kept.get((target.layer, "weight", 0))
    gram = moment = None
    for sample in samples:
        wanted = _capture(original, sample.taught, {target.matched})[target.matched]
        names = {target.reads} | ({target.addend} if target.addend else set())
        seen = _capture(descendant.module, sample.seen, names)
        if kept is not None:
            wanted = wanted.index_select(_channel_axis(layer, wanted), kept.to(wanted.device))
        if target.addend:
            wanted = wanted - seen[target.addend]
        rows, answers = _rows(layer, seen[target.reads], wanted)
        gram = rows.transpose(1, 2) @ rows + (0 if gram is None else gram)
        moment = rows.transpose(1, 2) @ answers + (0 if moment is None else moment)
    if gram is not None and moment is not None:
        _write(layer, gram, moment)


def _channel_axis(layer: nn.Module, value: Tensor) -> int:
    return value.dim() - 1 if isinstance(layer, nn.Linear) else 1


def _rows(layer: Any, reads: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """The regressors, with a last column of ones, and the targets: (groups, rows, columns + 1), (groups, rows,
    outputs)."""
    if isinstance(layer, nn.Linear):
        rows, answers = reads.reshape(1, -1, reads.shape[-1]), wanted.reshape(1, -1, wanted.shape[-1])
    else:
        rows, answers = _patches(layer, reads), wanted.flatten(2)
        count = answers.shape[2]
        chosen = torch.randperm(count, generator=torch.Generator().manual_seed(count))[:POSITIONS].to(reads.device)
        groups = layer.groups
        rows = torch.unflatten(rows[..., chosen], 1, (groups, -1)).permute(1, 0, 3, 2).flatten(1, 2)
        answers = torch.unflatten(answers[..., chosen], 1, (groups, -1)).permute(1, 0, 3, 2).flatten(1, 2)
    return torch.cat([rows, torch.ones_like(rows[..., :1])], 2), answers


def _patches(layer: Any, reads: Tensor) -> Tensor:
    """The inputs of each output position, as im2col: (n, channels * kernel size, positions)."""
    spatial = len(layer.kernel_size)
    padding = layer._reversed_padding_repeated_twice
    reads = F.pad(reads, padding, mode="constant" if layer.padding_mode == "zeros" else layer.padding_mode)
    for axis in range(spatial):
        span = layer.dilation[axis] * (layer.kernel_size[axis] - 1) + 1
        reads = reads.unfold(2 + axis, span, layer.stride[axis])[..., :: layer.dilation[axis]]
    # (n, channels, *positions, *kernel) -> (n, channels * kernel, positions)
    positions = reads.shape[2 : 2 + spatial].numel()
    order = [0, 1, *range(2 + spatial, 2 + 2 * spatial), *range(2, 2 + spatial)]
    return reads.permute(order).reshape(reads.shape[0], -1, positions)


def _write(layer: Any, gram: Tensor, moment: Tensor) -> None:
    """Solve the ridge regression for weights and bias, and store them where they are finite."""
    groups, columns = gram.shape[0], gram.shape[1] - 1
    present = layer.weight.detach().reshape(groups, -1, columns).transpose(1, 2)
    if layer.bias is None:
        gram, moment = gram[:, :columns, :columns], moment[:, :columns]
    else:
        bias = layer.bias.detach().reshape(groups, 1, -1)
        present = torch.cat([present, bias], 1)
    gram, moment, start = gram.double(), moment.double(), present.double()
    pull = gram.diagonal(dim1=1, dim2=2)[:, :columns].mean(1) * RIDGE
    strength = torch.diag_embed(pull[:, None].expand(-1, gram.shape[1])).clone()
    if layer.bias is not None:
        strength[:, columns, columns] = 0
    strength += torch.eye(gram.shape[1], dtype=gram.dtype, device=gram.device) * gram.abs().amax() * 1e-9
    solved = torch.linalg.solve(gram + strength, moment + strength @ start).to(layer.weight.dtype)
    if not torch.isfinite(solved).all():
        return  # the samples determine nothing; the pruned weights are kept
    with torch.no_grad():
        layer.weight.copy_(solved[:, :columns].transpose(1, 2).reshape(layer.weight.shape))
        if layer.bias is not None:
            layer.bias.copy_(solved[:, columns].reshape(-1))


# ---- activations inside a block ------------------------------------------------------------------------------------
class _Capture(fx.Interpreter):
    def __init__(self, module: fx.GraphModule, names: Collection[str]) -> None:
        super().__init__(module)
        self.names = names
        self.found: dict[str, Tensor] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n.name in self.names:
            self.found[n.name] = value
        return value


def _capture(module: fx.GraphModule, inputs: Tensor, names: Collection[str]) -> dict[str, Tensor]:
    """Run ``module`` on one input and return the values of the named nodes."""
    runner = _Capture(module, names)
    with torch.no_grad():
        runner.run(inputs)
    return runner.found
