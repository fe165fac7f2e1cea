"""Least-squares reconstruction: layers that read pruned channels are solved against the original's output.

Channel pruning by reconstruction (He, Zhang and Sun, *Channel pruning for accelerating very deep neural networks*, ICCV
2017), with two changes. The inputs of the fit are the descendant's own activations, layer after layer, so that each
layer also corrects the error of those before it; and where a layer's output is added to another value, the *sum* is
fitted, which corrects the error of the block's input.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor, fx

from legodnn.builder.graph.channels.map import ChannelMap
from legodnn.builder.graph.channels.rules import argument
from legodnn.builder.graph.layers import CONVOLUTIONS
from legodnn.builder.graph.resources import peak_activation_bytes
from legodnn.builder.graph.values import metadata
from legodnn.builder.prune.derive import Descendant
from legodnn.shared.errors import is_shortage

POSITIONS = 64
"""Random positions of a feature map that are sampled from every image; bounds time and memory. Not tuned."""

RIDGE = 1e-2
"""Ridge penalty on the distance from the pruned weights, relative to the mean square of the layer's inputs. Not
tuned."""

LEAST_RIDGE = 1e-8
"""The least ridge penalty per row, for inputs that are zero or nearly so on all samples: it binds where their root mean
square is below 1e-3, a hundredth of what activations have. Not tuned. Without it a dead layer without a bias gives a
singular system, and one input of 1e-6 in a dead layer a weight of 1e6."""

MAX_COLUMNS = 8192
"""Layers with more weights per output than this are left to the gradient step: solving takes time in the cube of it.
Not tuned."""

PIECE_BYTES = 512 * 1024**2
"""Memory for activations and regressors while a layer's normal equations are summed: samples that take more are read in
pieces of so many images, at least one. The equations come on top: 16 bytes for each entry of a matrix with a row and a
column per weight of an output, 1 GiB at `MAX_COLUMNS`. Not tuned: a block of ResNet-18 at 32 pixels takes half of it
for a batch of 128, so that small networks are read in one piece."""

_FITTED = (*CONVOLUTIONS, nn.Linear)

_SUMS = (operator.add, torch.add, "add")
_DIFFERENCES = (operator.sub, torch.sub, torch.subtract, "sub", "subtract")


@dataclass(frozen=True)
class Sample:
    """A batch of block inputs: the descendant's, and the teacher's for the same images, of one shape."""

    seen: Tensor
    taught: Tensor


@dataclass(frozen=True)
class _Sum:
    """A node that is ``factor`` times a layer's value plus ``others_factor`` times that of the node ``other``."""

    node: str
    factor: float
    other: str
    others_factor: float


@dataclass(frozen=True)
class _Target:
    """A layer to fit: its node, the node it reads, and the sum whose value is fitted in place of its own."""

    layer: str
    node: str
    reads: str
    sum: _Sum | None

    @property
    def matched(self) -> str:
        """The node whose value is fitted."""
        return self.sum.node if self.sum else self.node


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
            targets.append(_Target(str(node.target), node.name, node.all_input_nodes[0].name, _sum_after(node)))
    return targets


def _sum_after(node: fx.Node) -> _Sum | None:
    """The sum or difference that alone reads a node's value, where both summands have one shape; else None."""
    if len(node.users) != 1:
        return None
    call = next(iter(node.users))
    terms = _terms(call)
    if terms is None or len(call.all_input_nodes) != 2:
        return None
    factor = terms.pop(node, 0.0)
    [(other, others_factor)] = terms.items()
    if factor == 0 or metadata(other).shape != metadata(node).shape:
        return None
    return _Sum(call.name, factor, other.name, others_factor)


def _terms(call: fx.Node) -> dict[fx.Node, float] | None:
    """The two values whose weighted sum a call is, with their factors; None for any other call."""
    first, second, alpha = argument(call, 0, "input"), argument(call, 1, "other"), call.kwargs.get("alpha", 1)
    if len(call.args) == 3:  # torch.add(input, alpha, other), which torch still takes
        alpha, second = second, call.args[2]
    values = isinstance(first, fx.Node) and isinstance(second, fx.Node) and first is not second
    if not values or not isinstance(alpha, int | float):
        return None
    if call.target in _SUMS:
        return {first: 1.0, second: float(alpha)}
    if call.target in _DIFFERENCES:
        return {first: 1.0, second: -float(alpha)}
    return {first: -float(alpha), second: 1.0} if call.target is torch.rsub else None


def _solve(
    original: fx.GraphModule, descendant: Descendant, target: _Target, layer: Any, samples: Sequence[Sample]
) -> None:
    gram = moment = None
    for piece in _pieces(original, target, layer, samples):
        new_gram, new_moment = _equations(original, descendant, target, layer, piece)
        if not (torch.isfinite(new_gram).all() and torch.isfinite(new_moment).all()):
            continue  # a path that overflowed in an earlier block says nothing about this layer
        gram = new_gram if gram is None else gram.add_(new_gram)
        moment = new_moment if moment is None else moment.add_(new_moment)
    if gram is not None and moment is not None:
        _write(layer, gram, moment)


def _equations(
    original: fx.GraphModule, descendant: Descendant, target: _Target, layer: Any, piece: Sample
) -> tuple[Tensor, Tensor]:
    """The normal equations of a layer on a piece; where memory runs out, of its halves one after the other."""
    unit = _entries_per_image(next(n for n in original.graph.nodes if n.op == "placeholder"))
    try:
        rows, answers = _observed(original, descendant, target, layer, piece)
        return rows.transpose(1, 2) @ rows, rows.transpose(1, 2) @ answers
    except (RuntimeError, MemoryError) as error:
        if not is_shortage(error) or not unit or len(piece.seen) < 2 * unit:
            raise
    # Behind the clause the exception is gone, and with it the tensors that its frames held.
    half = unit * (len(piece.seen) // unit // 2)
    pairs = zip(torch.tensor_split(piece.seen, [half]), torch.tensor_split(piece.taught, [half]), strict=True)
    found = [_equations(original, descendant, target, layer, Sample(seen, taught)) for seen, taught in pairs]
    return found[0][0].add_(found[1][0]), found[0][1].add_(found[1][1])


def _pieces(
    original: fx.GraphModule, target: _Target, layer: Any, samples: Sequence[Sample]
) -> Iterator[Sample]:
    """The samples, divided into pieces of images where they take more than `PIECE_BYTES`."""
    entry = next(n for n in original.graph.nodes if n.op == "placeholder")
    unit, example = _entries_per_image(entry), metadata(entry).shape[0]
    # For the example. The two networks' values, and the layer's regressors:
    needed = 2 * peak_activation_bytes(original, views=False) + _regressor_bytes(original, target, layer)
    for sample in samples:
        size = unit * max(1, PIECE_BYTES * example // (needed * unit)) if unit else len(sample.seen)
        pairs = zip(torch.split(sample.seen, size), torch.split(sample.taught, size), strict=True)
        yield from (Sample(seen, taught) for seen, taught in pairs)


def _entries_per_image(entry: fx.Node) -> int:
    """How many entries along its first axis a block's input has for each image (windows of one, say); 0 where the
    images do not lie along it."""
    (first, *others), (second, *same) = entry.meta.get("shapes", ((0,), (0,)))
    return int(second - first) if others == same else 0


def _regressor_bytes(original: fx.GraphModule, target: _Target, layer: Any) -> int:
    """Bytes of a layer's regressors for the example input, with the copy that has a column of ones."""
    made = metadata(next(n for n in original.graph.nodes if n.name == target.node)).shape
    rows = math.prod(made[:-1]) if isinstance(layer, nn.Linear) else made[0] * min(POSITIONS, math.prod(made[2:]))
    return int(2 * rows * (layer.weight[0].numel() + 1) * getattr(layer, "groups", 1) * layer.weight.element_size())


def _observed(
    original: fx.GraphModule, descendant: Descendant, target: _Target, layer: Any, sample: Sample
) -> tuple[Tensor, Tensor]:
    """The regressors and targets of a layer on a sample, as `_rows` gives them."""
    wanted = _capture(original, sample.taught, {target.matched})[target.matched]
    seen = _capture(descendant.module, sample.seen, {target.reads} | ({target.sum.other} if target.sum else set()))
    kept = descendant.kept.get((target.layer, "weight", 0))
    if kept is not None:
        wanted = wanted.index_select(_channel_axis(layer, wanted), kept.to(wanted.device))
    if target.sum:
        wanted = (wanted - target.sum.others_factor * seen[target.sum.other]) / target.sum.factor
    return _rows(layer, seen[target.reads], wanted)


def _channel_axis(layer: nn.Module, value: Tensor) -> int:
    return value.dim() - 1 if isinstance(layer, nn.Linear) else 1


def _rows(layer: Any, reads: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """The regressors, with a last column of ones, and the targets: (groups, rows, columns + 1), (groups, rows,
    outputs)."""
    if isinstance(layer, nn.Linear):
        rows, answers = reads.reshape(1, -1, reads.shape[-1]), wanted.reshape(1, -1, wanted.shape[-1])
    else:
        answers = wanted.flatten(2)
        count = answers.shape[2]
        chosen = torch.randperm(count, generator=torch.Generator().manual_seed(count))[:POSITIONS].to(reads.device)
        groups = layer.groups
        rows = torch.unflatten(_patches(layer, reads, chosen), 1, (groups, -1)).permute(1, 0, 3, 2).flatten(1, 2)
        answers = torch.unflatten(answers[..., chosen], 1, (groups, -1)).permute(1, 0, 3, 2).flatten(1, 2)
    return torch.cat([rows, torch.ones_like(rows[..., :1])], 2), answers


def _patches(layer: Any, reads: Tensor, chosen: Tensor) -> Tensor:
    """The inputs of the ``chosen`` output positions, int64 (p,), as im2col: (n, channels * kernel size, p)."""
    spatial = len(layer.kernel_size)
    padding = layer._reversed_padding_repeated_twice
    reads = F.pad(reads, padding, mode="constant" if layer.padding_mode == "zeros" else layer.padding_mode)
    for axis in range(spatial):
        span = layer.dilation[axis] * (layer.kernel_size[axis] - 1) + 1
        reads = reads.unfold(2 + axis, span, layer.stride[axis])[..., :: layer.dilation[axis]]
    # (n, channels, *positions, *kernel), a view: all of it would be as many times the input as the kernel is large
    places: list[Tensor] = []
    for size in reversed(reads.shape[2 : 2 + spatial]):
        places.insert(0, chosen % size)
        chosen = torch.div(chosen, size, rounding_mode="floor")
    index: tuple[Any, ...] = (slice(None), slice(None), *places)
    picked = reads[index]
    return picked.permute(0, 1, *range(3, 3 + spatial), 2).reshape(len(reads), -1, len(places[0]))


def _write(layer: Any, gram: Tensor, moment: Tensor) -> None:
    """Solve the ridge regression for weights and bias, and store them where they are finite."""
    groups, columns = gram.shape[0], gram.shape[1] - 1
    count = gram[:, columns, columns].double()
    present = layer.weight.detach().reshape(groups, -1, columns).transpose(1, 2)
    if layer.bias is None:
        gram, moment = gram[:, :columns, :columns], moment[:, :columns]
    else:
        bias = layer.bias.detach().reshape(groups, 1, -1)
        present = torch.cat([present, bias], 1)
    gram, moment, start = gram.double(), moment.double(), present.double()
    diagonal = gram.diagonal(dim1=1, dim2=2)
    pull = (diagonal[:, :columns].mean(1) * RIDGE).maximum(LEAST_RIDGE * count)
    strength = pull[:, None].expand(-1, gram.shape[1]).clone()
    if layer.bias is not None:
        strength[:, columns] = 0
    strength += gram.abs().amax() * 1e-9
    moment += strength[:, :, None] * start
    diagonal += strength
    solved = torch.linalg.solve(gram, moment).to(layer.weight.dtype)
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
