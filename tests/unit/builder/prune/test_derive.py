"""Which channels may go, and that a block built without them is what masking them would give."""

import numpy as np
import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F

from legodnn.builder.graph.channels.analysis import analyse
from legodnn.builder.graph.fold import fold_norms
from legodnn.builder.graph.resources import measure, weight_bytes
from legodnn.builder.graph.tracing.trace import trace
from legodnn.builder.prune.derive import derive, kept_count
from legodnn.builder.prune.importance import throughput
from legodnn.shared.errors import UsageError
from tests.networks import NETWORKS, conv, images, network
from tests.whole_way import masked


def whole(name):
    """A test network as one block: folded, with its analysis."""
    module = fold_norms(trace(network(name), [images()]))
    return module, analyse(module)


def groups(name):
    return {f.layers: (len(f.prunable), f.protected) for f in whole(name)[1].groups()}


@pytest.mark.parametrize("sparsity", [0.25, 0.5, 0.8])
@pytest.mark.parametrize("name", ["pre-activation", "functional", "shared", "dynamic", "branches", "gated"])
def test_pruned_by_construction_equals_pruned_by_masking(name, sparsity):
    block, channels = whole(name)
    descendant = derive(block, channels, sparsity, round_to=1)
    with torch.no_grad():
        built = descendant.module(images())
        expected = masked(block, descendant)(images())
    assert descendant.kept
    assert (built - expected).norm() <= 1e-5 * expected.norm()


@pytest.mark.parametrize("sparsity", [0.3, 0.7])
@pytest.mark.parametrize("name", NETWORKS)
def test_descendants_run_keep_their_output_shape_and_are_smaller(name, sparsity):
    block, channels = whole(name)
    descendant = derive(block, channels, sparsity, round_to=1).module
    with torch.no_grad():
        assert descendant(images(3)).shape == (3, 4)
    assert weight_bytes(descendant) < weight_bytes(block)


@pytest.mark.parametrize("name", NETWORKS)
def test_layers_of_a_descendant_describe_themselves_rightly(name):
    block, channels = whole(name)
    for module in derive(block, channels, 0.5, round_to=1).module.modules():
        if isinstance(module, nn.Conv2d):
            assert module.weight.shape[0] == module.out_channels
            assert module.weight.shape[1] * module.groups == module.in_channels
        if isinstance(module, nn.Linear):
            assert tuple(module.weight.shape) == (module.out_features, module.in_features)


def test_a_depthwise_convolution_goes_with_what_feeds_it():
    descendant = derive(*whole("gated"), 0.5, round_to=1).module
    depth = descendant.get_submodule("depth")
    assert (depth.in_channels, depth.out_channels, depth.groups) == (12, 12, 12)


def test_an_excitation_goes_with_the_channels_it_scales():
    assert groups("gated")[("expand", "excite")] == (24, 0)
    descendant = derive(*whole("gated"), 0.5, round_to=1).module
    assert descendant.get_submodule("excite").out_channels == descendant.get_submodule("expand").out_channels


def test_every_group_of_a_grouped_convolution_keeps_as_many_channels():
    grouped = derive(*whole("branches"), 0.5, round_to=1).module.get_submodule("grouped")
    assert grouped.in_channels % grouped.groups == 0
    assert grouped.out_channels % grouped.groups == 0
    assert grouped.groups == 4


def test_both_uses_of_a_shared_layer_lose_the_same_channels():
    assert groups("shared")[("stem", "twice")] == (8, 0)


def test_a_residual_stream_that_leaves_the_block_is_not_prunable():
    _, channels = whole("pre-activation")
    stem = next(f for f in channels.groups() if "stem" in f.layers)
    assert "b" in stem.layers


def test_an_unknown_operation_keeps_its_channels_and_is_named():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = conv(3, 8), conv(8, 8), conv(8, 4)

        def forward(self, x):
            return self.c(torch.relu(self.b(torch.cumsum(self.a(x), 1))))

    channels = analyse(trace(Odd().eval(), [images()]))
    found = {f.layers: f for f in channels.groups()}
    assert len(found[("a",)].prunable) == 0
    [reason] = found[("a",)].not_prunable
    assert (reason.operator, reason.module) == ("cumsum", "")
    assert reason.source.startswith("test_derive.py:")
    assert len(found[("b",)].prunable) == 8


def test_written_down_sizes_shrink_with_the_channels():
    class Literal(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = conv(3, 8), nn.Linear(8 * 64, 4)

        def forward(self, x):
            return self.b(F.relu(self.a(x)).view(-1, 8 * 64))

    block = trace(Literal().eval(), [images()])
    descendant = derive(block, analyse(block), 0.5, round_to=1).module
    with torch.no_grad():
        assert descendant(images()).shape == (2, 4)
    assert descendant.get_submodule("b").in_features == 4 * 64


def test_a_split_with_written_sizes_shrinks():
    class Split(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = conv(3, 12), conv(4, 4), conv(8, 4)

        def forward(self, x):
            left, right = torch.split(self.a(x), [4, 8], 1)
            return self.b(left) + self.c(right)

    block = trace(Split().eval(), [images()])
    descendant = derive(block, analyse(block), 0.5, round_to=1).module
    with torch.no_grad():
        assert descendant(images()).shape == (2, 4, 8, 8)
    parts = descendant.get_submodule("b").in_channels + descendant.get_submodule("c").in_channels
    assert parts == descendant.get_submodule("a").out_channels == 6


# ---- groups of a normalisation ---------------------------------------------------------------------------------------
class Normalised(nn.Module):
    """A convolution whose result is normalised in groups; with ``pooled`` there is one position."""

    def __init__(self, groups, pooled=False, affine=True, function=False):
        super().__init__()
        self.a, self.b, self.pooled = conv(3, 16), nn.Linear(16, 4), pooled
        self.groups = groups
        if not function:
            self.norm = nn.GroupNorm(groups, 16, affine=affine)
            for parameter in self.norm.parameters():
                nn.init.uniform_(parameter, 0.5, 1.5)

    def forward(self, x):
        x = self.a(x)
        x = x.mean((2, 3)) if self.pooled else x
        x = self.norm(x) if hasattr(self, "norm") else F.group_norm(x, self.groups)
        return self.b(F.relu(x) if self.pooled else F.relu(x).mean((2, 3)))


def normalised(*args, **kwargs):
    torch.manual_seed(0)
    block = trace(Normalised(*args, **kwargs).eval(), [images()])
    return block, analyse(block)


@pytest.mark.parametrize("sparsity", [0.25, 0.5, 0.9])
@pytest.mark.parametrize(("groups", "options"), [
    (16, {}), (8, {}), (8, {"affine": False}), (8, {"function": True}), (4, {"pooled": True}), (8, {"pooled": True}),
])  # fmt: skip
def test_whole_groups_go_and_the_others_are_normalised_as_before(groups, options, sparsity):
    block, channels = normalised(groups, **options)
    descendant = derive(block, channels, sparsity, round_to=1)
    kept = descendant.kept["a", "weight", 0].tolist()
    size = 16 // groups
    assert len(kept) == size * kept_count(groups, sparsity, 1)
    assert all(kept[i : i + size] == list(range(kept[i], kept[i] + size)) for i in range(0, len(kept), size))
    with torch.no_grad():
        built, expected = descendant.module(images()), masked(block, descendant)(images())
    assert (built - expected).norm() <= 1e-5 * expected.norm()


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_of_large_groups_each_keeps_as_many_channels(groups):
    block, channels = normalised(groups)
    descendant = derive(block, channels, 0.5, round_to=1)
    per_group = np.bincount(descendant.kept["a", "weight", 0].numpy() // (16 // groups), minlength=groups)
    norm = descendant.module.get_submodule("norm")
    assert norm.num_groups == groups
    assert norm.num_channels == 8
    assert groups == 1 or len(set(per_group)) == 1


def test_a_vector_normalised_as_one_group_is_prunable():
    block, channels = normalised(1, True)
    assert len(derive(block, channels, 0.5, round_to=1).kept["a", "weight", 0]) == 8


# ---- heads -----------------------------------------------------------------------------------------------------------
class Heads(nn.Module):
    def __init__(self, heads, size, how):
        super().__init__()
        self.a, self.qkv, self.b = nn.Linear(8, 24), nn.Linear(24, 3 * heads * size), nn.Linear(heads * size, 8)
        self.heads, self.size, self.how = heads, size, how

    def forward(self, x):
        n, length = x.shape[:2]
        q, k, v = self.qkv(self.a(x)).reshape(n, length, 3, self.heads, self.size).unbind(2)
        if self.how == "einsum":
            weights = torch.einsum("nqhd,nkhd->nhqk", q, k).softmax(-1)
            found = torch.einsum("nhqk,nkhd->nqhd", weights, v)
        else:
            q, k, v = (t.transpose(1, 2) for t in (q, k, v))
            found = ((q @ k.transpose(-1, -2)).softmax(-1) @ v).transpose(1, 2)
        return self.b(found.reshape(n, length, -1))


@pytest.mark.parametrize("how", ["matmul", "einsum"])
@pytest.mark.parametrize(("heads", "size", "left"), [(12, 4, 9), (12, 16, 9), (24, 4, 18)])
def test_heads_are_counted_as_heads_and_channels_as_channels(how, heads, size, left):
    x = torch.randn(2, 5, 8)
    block = trace(Heads(heads, size, how).eval(), [x])
    module = derive(block, analyse(block), 0.25).module
    assert module.get_submodule("b").in_features == left * size
    assert module.get_submodule("qkv").out_features == 3 * left * size
    assert module.get_submodule("a").out_features == 16  # 18, rounded
    assert module(x).shape == x.shape


def test_heads_of_torch_s_attention_are_counted_as_heads():
    x = torch.randn(2, 5, 8)
    block = trace(nn.Sequential(nn.Linear(8, 48), Self(48, 12), nn.Linear(48, 8)).eval(), [x])
    module = derive(block, analyse(block), 0.25).module
    assert module.get_submodule("1.attention.out_proj").in_features == 9 * 4


class Self(nn.Module):
    def __init__(self, size, heads):
        super().__init__()
        self.attention = nn.MultiheadAttention(size, heads, batch_first=True)

    def forward(self, x):
        return self.attention(x, x, x, need_weights=False)[0]


@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
@pytest.mark.parametrize(("inputs", "outputs", "groups"), [(8, 8, 8), (8, 16, 8), (8, 8, 2), (8, 12, 4)])
def test_grouped_layers_have_the_groups_and_channels_that_their_weights_have(kind, inputs, outputs, groups):
    torch.manual_seed(0)
    layers = (conv(3, inputs), kind(inputs, outputs, 3, padding=1, groups=groups), conv(outputs, 4))
    block = trace(nn.Sequential(*layers).eval(), [images()])
    descendant = derive(block, analyse(block), 0.5, round_to=1).module
    made, layer, reader = (descendant.get_submodule(name) for name in "012")
    assert made.weight.shape[0] == made.out_channels == layer.in_channels < inputs
    assert reader.weight.shape[1] == reader.in_channels == layer.out_channels < outputs
    sizes = (layer.out_channels, layer.in_channels)
    first, second = sizes if kind is nn.Conv2d else sizes[::-1]
    assert layer.weight.shape[:2] == (first, second // layer.groups)
    assert descendant(images()).shape == block(images()).shape


@pytest.mark.parametrize(("total", "sparsity", "round_to", "kept"), [
    (16, 0.2, 1, 13), (16, 0.8, 1, 4), (128, 0.8, 1, 26), (64, 0.2, 8, 56), (64, 0.8, 8, 16), (16, 0.8, 8, 4),
    (10, 0.3, 1, 7), (4, 0.99, 1, 1), (100, 0.29, 1, 71),
])  # fmt: skip
def test_kept_counts(total, sparsity, round_to, kept):
    assert kept_count(total, sparsity, round_to) == kept


def test_the_weakest_channels_go():
    block, channels = whole("dynamic")
    strong = torch.tensor([0, 3, 4, 6])
    with torch.no_grad():
        block.get_submodule("a").weight.mul_(1e-3)
        block.get_submodule("a").weight[strong] *= 1e6
    kept = derive(block, channels, 0.5, round_to=1).kept["a", "weight", 0]
    assert torch.equal(kept, strong)


def test_importance_is_pluggable():
    block, channels = whole("dynamic")
    backwards = derive(block, channels, 0.5, round_to=1, importance=lambda c, f: -throughput(c, f))
    forwards = derive(block, channels, 0.5, round_to=1, importance="throughput")
    both = np.intersect1d(backwards.kept["a", "weight", 0], forwards.kept["a", "weight", 0])
    assert len(both) == 0


@pytest.mark.parametrize("sparsity", [-0.1, 1.0, float("nan")])
def test_impossible_sparsities_are_refused(sparsity):
    with pytest.raises(UsageError, match="sparsity"):
        derive(*whole("dynamic"), sparsity)


def test_an_unknown_importance_names_the_known():
    with pytest.raises(UsageError, match="l2, throughput"):
        derive(*whole("dynamic"), 0.5, importance="magic")


def test_costs_of_a_convolution_are_what_arithmetic_says():
    block = trace(nn.Sequential(conv(3, 8), nn.ReLU()).eval(), [images(1)])
    found = measure(block, [images(1)])
    assert found.parameters == 3 * 8 * 9 + 8
    assert found.weight_bytes == 4 * found.parameters
    assert found.flops == 2 * 3 * 8 * 9 * 64
    assert found.activation_bytes == 4 * 64 * (8 + 8)


def test_a_gate_that_looks_at_neighbouring_channels_keeps_them():
    class Gated(nn.Module):  # ECA-Net (Wang et al., CVPR 2020)
        def __init__(self):
            super().__init__()
            self.a, self.gate, self.b, self.c = conv(3, 8), nn.Conv1d(1, 1, 3, padding=1), conv(8, 8), conv(8, 4)

        def forward(self, x):
            x = F.relu(self.a(x))
            weights = self.gate(x.mean((2, 3), keepdim=True).squeeze(-1).transpose(-1, -2))
            return self.c(F.relu(self.b(x * torch.sigmoid(weights.transpose(-1, -2).unsqueeze(-1)))))

    block = trace(Gated().eval(), [images()])
    channels = analyse(block)
    found = {f.layers: f for f in channels.groups()}
    assert "neighbouring" in str(next(iter(found[("a",)].not_prunable)))
    assert (len(found[("a",)].prunable), len(found[("b",)].prunable)) == (0, 8)
    assert derive(block, channels, 0.5, round_to=1).module(images()).shape == (2, 4, 8, 8)
