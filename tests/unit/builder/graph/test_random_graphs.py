"""What must hold of every network, on networks put together at random."""

import copy
import random

import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import fx

from legodnn.builder.graph.channels.analysis import analyse
from legodnn.builder.graph.fold import fold_norms
from legodnn.builder.graph.run import compose, run_segment
from legodnn.builder.graph.segments import cut
from legodnn.builder.graph.shapes import note_metadata
from legodnn.builder.graph.tracing.trace import trace
from legodnn.builder.graph.values import metadata, tensors_in
from legodnn.builder.prune.derive import derive
from tests.networks import images
from tests.random_networks import HOLDERS, REWRITTEN, around, network, one_by_one, seeded
from tests.random_pieces import PIECES

SPARSITIES = (0.25, 0.4, 0.7, 0.99)
RATIOS = (1.0, 0.5, 0.2, 0.01)

RMS_NORM = getattr(nn, "RMSNorm", ())
"""The class, or none: torch has it from 2.4 on."""

CONTRACTIONS = (torch.matmul, torch.einsum, torch.bmm, "matmul")


class Masked(fx.Interpreter):
    """Runs a block in which channels are there but count for nothing.

    The weights of the layers that make, scale or read removed channels are zero, which is all that is needed where a
    channel is read by a layer's weights. Two kinds of operations read channels without weights. A contraction
    (attention's products) sums over channels: removed ones are zero before it. A normalisation over channels takes
    its statistics from those that are left, since a smaller layer knows no others.
    """

    def __init__(self, block, channels, kept):
        super().__init__(block)
        self.channels = channels
        gone = [
            channels.roots(channels.slices[key].ids)[mask_of(channels.slices[key], indices).numpy()]
            for key, indices in kept.items()
        ]
        self.gone = {int(root) for roots in gone for root in roots}

    def left(self, node):
        """Which entries of a node's value, along its channels' axes, have channels that are left."""
        tag = self.channels.tags.get(node)
        if tag is None:
            return None, None
        roots = self.channels.roots(tag.ids)
        kept = torch.tensor([int(root) not in self.gone for root in roots.ravel()]).reshape(roots.shape)
        shape = [1] * len(metadata(node).shape)
        for axis, size in zip(tag.axes, kept.shape, strict=True):
            shape[axis] = size
        return kept, kept.reshape(shape) if shape else None

    def run_node(self, n):
        value = self.normalised(n) if self.is_norm(n) else super().run_node(n)
        if any(user.target in CONTRACTIONS for user in n.users) and n in self.channels.tags:
            value = value * self.left(n)[1]
        return value

    def is_norm(self, node):
        if node.op == "call_module":
            return isinstance(self.module.get_submodule(node.target), (nn.GroupNorm, nn.LayerNorm, RMS_NORM))
        return node.target in (F.group_norm, F.layer_norm)

    def normalised(self, node):
        """Only what is left goes through the normalisation, each group by itself."""
        source = node.args[0]
        tag, whole = self.channels.tags.get(source), self.env[source]
        if tag is None or tag.only_axis is None or self.left(source)[0].all():
            return super().run_node(node)
        kept = torch.nonzero(self.left(source)[0]).ravel()
        some = whole.index_select(tag.only_axis, kept)
        layer = self.module.get_submodule(node.target) if node.op == "call_module" else None
        weights = [None if w is None else w[kept] for w in (getattr(layer, p, None) for p in ("weight", "bias"))]
        if isinstance(layer, nn.GroupNorm) or node.target is F.group_norm:
            groups = layer.num_groups if layer else node.args[1]
            left = self.left(source)[0].reshape(groups, -1).sum(1).tolist()
            parts = [F.group_norm(part, 1) for part in some.split([count for count in left if count], 1)]
            some = torch.cat(parts, 1)
            if weights[0] is not None:
                shape = [-1] + [1] * (some.dim() - 2)
                some = some * weights[0].view(shape) + weights[1].view(shape)
        elif tag.only_axis < whole.dim() - 1:
            return super().run_node(node)
        elif isinstance(layer, RMS_NORM):
            some = F.rms_norm(some, (len(kept),), weights[0], layer.eps)
        else:
            some = F.layer_norm(some, (len(kept),), *weights)
        return torch.zeros_like(whole).index_copy(tag.only_axis, kept, some)


def mask_of(piece, kept):
    """Which indices of a layer's tensor are not among those kept."""
    mask = torch.ones(len(piece.ids), dtype=torch.bool)
    mask[kept] = False
    return mask


def by_masking(block, channels, descendant, x):
    """What the block answers when removed channels count for nothing; its weights are spoilt."""
    state = block.state_dict()
    for key, kept in descendant.kept.items():
        owner, parameter, axis = key
        value = state[f"{owner}.{parameter}".lstrip(".")]
        value.movedim(axis, 0)[mask_of(channels.slices[key], kept)] = 0
    return Masked(block, channels, descendant.kept).run(x)


def check_masking(block, x, sparsity):
    """A block built without channels answers what it would if they counted for nothing, in double precision."""
    block, x = copy.deepcopy(block).double(), x.double()
    channels = analyse(block)
    descendant = derive(block, channels, sparsity, round_to=1)
    built = descendant.module(x)
    expected = by_masking(block, channels, descendant, x)
    assert built.shape == expected.shape
    assert (built - expected).norm() <= 1e-7 * expected.norm() + 1e-9


def check_descriptions(descendant):
    """Layers say of themselves what their tensors and inputs are, and none is empty."""
    for node in descendant.graph.nodes:
        if node.op == "call_module":
            layer, shape = descendant.get_submodule(node.target), metadata(node.args[0]).shape
            assert all(value.numel() for value in layer.parameters())
            check_layer(layer, shape)


def check_layer(layer, shape):
    if isinstance(layer, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        assert tuple(layer.weight.shape[:2]) == (layer.out_channels, layer.in_channels // layer.groups)
        assert layer.in_channels % layer.groups == layer.out_channels % layer.groups == 0
    elif isinstance(layer, nn.ConvTranspose2d):
        assert tuple(layer.weight.shape[:2]) == (layer.in_channels, layer.out_channels // layer.groups)
        assert layer.in_channels % layer.groups == layer.out_channels % layer.groups == 0
    elif isinstance(layer, nn.Linear):
        assert tuple(layer.weight.shape) == (layer.out_features, layer.in_features)
    elif isinstance(layer, nn.PReLU):
        assert layer.num_parameters == len(layer.weight)
    elif isinstance(layer, nn.GroupNorm):
        assert layer.num_channels == shape[1]
    elif isinstance(layer, (nn.LayerNorm, RMS_NORM)):
        assert tuple(layer.normalized_shape) == shape[-len(layer.normalized_shape) :]
    elif isinstance(layer, (nn.BatchNorm2d, nn.InstanceNorm2d)):
        assert layer.num_features == shape[1]


def check_mixed(graph, folded, values, x, pick):
    """Any variant of any block in any company changes no shape outside, and every number stays finite."""
    chosen = dict(folded)
    for block in graph.blocks:
        module = folded[block.name]
        descendant = derive(module, analyse(module), pick((0.0, *SPARSITIES)), round_to=pick((1, 8))).module
        note_metadata(descendant, [values[block.inputs[0]]])
        check_descriptions(descendant)
        chosen[block.name] = descendant
    mixed = boundary_values(graph, chosen, x)
    assert mixed.keys() == values.keys()
    for node, value in mixed.items():
        assert value.shape == values[node].shape
        assert value.isfinite().all()


def check_tracing(model, x):
    """The traced network, which must answer what the network does and leave it as it was.

    What tracing writes in other operators rounds differently, so it is compared in double precision.
    """
    before = {name: value.clone() for name, value in model.state_dict().items()}
    expected = tensors_in(model(x.clone()))
    traced = trace(model, [x])
    if any(getattr(piece, "name", "") in REWRITTEN for piece in model.modules()):
        exact, found = (tensors_in(copy.deepcopy(m).double()(x.double())) for m in (model, traced))
        assert_close(found, exact)
    else:
        assert_same(tensors_in(traced(x.clone())), expected)
    assert before.keys() == model.state_dict().keys()
    assert_same(list(model.state_dict().values()), list(before.values()))
    return traced


@torch.no_grad()
def check_network(model, ratio, pick):
    """All that must hold of a network, cut at a ratio; sparsities are picked."""
    x = images()
    traced = check_tracing(model, x)
    graph = cut(traced, ratio)
    originals = {s.name: graph.module(s) for s in graph.segments}
    for batch in (x, images(3, seed=2)):
        assert_same(compose(graph, originals, {}).outputs(batch), distinct(traced(batch)))
    folded = {name: fold_norms(module) for name, module in originals.items()}
    assert_close(compose(graph, folded, {}).outputs(x), distinct(traced(x)))
    values = boundary_values(graph, folded, x)
    for block in graph.blocks:
        for sparsity in (pick(SPARSITIES), pick(SPARSITIES)):
            check_masking(folded[block.name], values[block.inputs[0]], sparsity)
    check_mixed(graph, folded, values, x, pick)


def distinct(value):
    return list({id(t): t for t in tensors_in(value)}.values())


def assert_same(found, expected):
    assert len(found) == len(expected)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def assert_close(found, expected):
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape
        assert (a - b).norm() <= 1e-5 * b.norm()


def boundary_values(graph, modules, x):
    values = dict(zip(graph.inputs, [x], strict=True))
    for segment in graph.segments:
        run_segment(segment, modules[segment.name], values)
    return values


RANDOM = settings(derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))


def check_drawn(data):
    def pick(options):
        return data.draw(st.sampled_from(options))

    check_network(network(pick), pick(RATIOS), pick)


@settings(RANDOM, max_examples=40)
@given(st.data())
def test_what_must_hold_of_every_network_holds_of_random_ones(data):
    check_drawn(data)


@pytest.mark.slow
@settings(RANDOM, max_examples=2000)
@given(st.data())
def test_what_must_hold_of_every_network_holds_of_very_many_random_ones(data):
    check_drawn(data)


@pytest.mark.parametrize("kind", [*PIECES, *HOLDERS])
def test_what_must_hold_of_every_network_holds_of_every_way_to_write_a_piece(kind):
    places = None if kind in PIECES else 1
    for number, model in enumerate(one_by_one(lambda pick: around(kind, pick), places)):
        check_network(model, 1.0, random.Random(number).choice)


def removable(seed):
    """Whether some block of a seed's network has channels that may go, and the share of channels that may."""
    graph = cut(trace(seeded(seed), [images()]), 0.5)
    blocks = [analyse(fold_norms(graph.module(block))).groups() for block in graph.blocks]
    groups = [group for block in blocks for group in block]
    prunable = sum(len(g.prunable) for g in groups if len(g.prunable) > 1)
    return prunable > 0, prunable / max(1, sum(len(g.prunable) + g.protected for g in groups))


def test_most_random_networks_have_blocks_with_prunable_channels():
    found = [removable(seed) for seed in range(30)]
    assert sum(any_go for any_go, _ in found) >= 26
    assert sum(share for _, share in found) / len(found) >= 0.5
