"""A plan says what is cut where, what may go, what stays and why."""

import json

import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F

from legodnn.builder import AutoBlockManager, CommonModelManager
from legodnn.builder.graph.cuts import Cuts
from legodnn.builder.plan.plan import module_tree
from legodnn.builder.plan.shares import LayerShare
from legodnn.builder.report.text import plan_lines
from legodnn.builder.zoo.classification import resnet_cifar
from legodnn.shared.errors import ModelError
from tests.networks import conv, network


def manager(model=None, cuts=None, ratio=0.125, size=32):
    model = resnet_cifar.resnet18() if model is None else model
    return AutoBlockManager([0.5], model, CommonModelManager(), (1, 3, size, size), ratio, cuts=cuts or Cuts())


# ---- the tree -----------------------------------------------------------------------------------------------------
def test_a_tree_lists_modules_before_what_is_in_them_and_skips_those_with_one_child():
    shares = {"a.b.c.x": LayerShare(10, 4), "a.b.c.y": LayerShare(30, 6), "a.b.norm": LayerShare(2, 2)}
    rows = module_tree(["a.b.c.x", "a.b.c.y", "head"], shares)
    assert [(r.name, r.depth, r.layers) for r in rows] == [
        ("a.b.c", 0, 2), ("a.b.c.x", 1, 1), ("a.b.c.y", 1, 1), ("head", 0, 1),
    ]  # fmt: skip
    assert (rows[0].parameters, rows[0].removable_parameters) == (40, 10)


def test_a_plan_counts_what_is_prunable_and_what_the_smallest_descendant_has_lost():
    plan = manager().plan()
    first = plan.blocks[0]
    assert [row.name for row in first.modules] == ["1.0.body", "1.0.body.0", "1.0.body.3"]
    assert first.modules[0].parameters == first.parameters
    assert first.modules_removable > first.removable_parameters > 0.3 * first.parameters
    assert sum(len(block.layers) for block in plan.blocks) + len(plan.trunk_layers) == 21


def test_why_channels_are_not_prunable_is_told_per_block_and_together_with_operator_module_and_line():
    class Sums(nn.Module):
        def forward(self, x):
            return x.cumsum(1)

    model = nn.Sequential(conv(3, 8), conv(8, 8), conv(8, 8), Sums(), conv(8, 8), conv(8, 4)).eval()
    plan = manager(model, ratio=1.0).plan()
    [stay] = [s for s in plan.not_prunable if s.reason.operator == "cumsum"]
    assert (stay.channels, stay.layers, stay.reason.module) == (8, ("2",), "3")
    assert stay.reason.source.startswith("test_plan.py:")
    assert stay in [s for block in plan.blocks for s in block.not_prunable]
    text = "\n".join(plan_lines(plan))
    assert f"8 channels of 2: cumsum in 3 at {stay.reason.source}: {stay.reason.why}" in text
    [row] = [row for row in json.loads(json.dumps(plan.to_plain()))["stays"] if row["operator"] == "cumsum"]
    assert row["source"] == stay.reason.source


def test_a_plan_names_what_could_not_be_looked_into():
    plan = manager(network("dynamic"), ratio=1.0, size=8).plan()
    assert "depends on the data" in plan.opaque["odd"]
    assert any(line.startswith("kept whole: odd (") for line in plan_lines(plan))


# ---- weights that several layers share -------------------------------------------------------------------------------
class Tied(nn.Module):
    """Two residual parts with the same two weights; the second's are layers', or are given to a function."""

    def __init__(self, how):
        super().__init__()
        self.stem, self.a, self.b, self.head, self.how = conv(3, 16), conv(16, 32), conv(32, 16), nn.Linear(16, 4), how
        if how in ("layers", "memory"):
            self.c, self.d = conv(16, 32), conv(32, 16)
            for own, other in ((self.c, self.a), (self.d, self.b)):
                own.weight = other.weight if how == "layers" else nn.Parameter(other.weight.data)

    def forward(self, x):
        x = self.stem(x)
        x = x + self.b(torch.relu(self.a(x)))
        if self.how == "chain":
            x = torch.relu(F.conv2d(self.a(x), self.b.weight, None, 1, 1))
        elif self.how == "functions":
            x = x + F.conv2d(torch.relu(F.conv2d(x, self.a.weight, None, 1, 1)), self.b.weight, None, 1, 1)
        else:
            x = x + self.d(torch.relu(self.c(x)))
        return self.head(x.mean((2, 3)))


@pytest.mark.parametrize("ratio", [0.125, 0.3, 1.0])
@pytest.mark.parametrize("how", ["layers", "functions", "chain"])
def test_a_weight_that_layers_share_counts_once_and_variants_run(how, ratio):
    torch.manual_seed(0)
    model = Tied(how).eval()
    blocks = AutoBlockManager([0.5], model, CommonModelManager(), (1, 3, 8, 8), ratio, round_to=1)
    plan = blocks.plan()
    assert plan.parameters == sum(p.numel() for p in model.parameters())
    assert 0.4 < plan.removable_share <= 1
    for block in blocks.block_names:
        x = blocks.example_inputs(block)[0]
        assert blocks.derive(block, "sparsity=0.5").module(x).shape == blocks.folded[block](x).shape


def test_a_shared_weight_counts_once_in_bytes_and_parameters_of_a_network():
    model, manager = Tied("memory"), CommonModelManager()
    biases = 32 + 16
    assert manager.get_model_size(model) == manager.get_model_size(Tied("functions")) + 4 * biases
    assert manager.get_model_flops_and_param(model, (1, 3, 8, 8))[1] == manager.get_model_size(model) / 4


def test_folded_normalisations_do_not_make_more_prunable_than_there_is():
    model = nn.Sequential(
        nn.Conv2d(3, 16, 1, bias=False), nn.BatchNorm2d(16, affine=False), nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False), nn.BatchNorm2d(16, affine=False), nn.ReLU(),
        nn.Conv2d(16, 4, 1, bias=False),
    ).eval()  # fmt: skip
    assert manager(model, ratio=1.0, size=8).plan().removable_share == 1


def test_weights_used_transposed_as_well_are_not_part_of_the_first_layer_s_block():
    class Mirrored(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(48, 32), nn.Linear(32, 16)

        def forward(self, x):
            x = torch.relu(self.b(torch.relu(self.a(x.flatten(1)))))
            return F.linear(torch.relu(F.linear(x, self.b.weight.t())), self.a.weight.t())

    plan = manager(Mirrored().eval(), size=4).plan()
    assert [block.parameters for block in plan.blocks] == [48 * 32 + 32 + 32 * 16 + 16, 48 * 32 + 32 * 16]


# ---- groups -------------------------------------------------------------------------------------------------------
def test_groups_are_part_of_a_plan_where_they_are_asked_for():
    blocks = manager()
    plan = blocks.plan(groups=True)
    shown = [line for line in plan_lines(plan) if line.startswith("  group: ")]
    assert shown[0] == "  group: filters 0-15 of 1.0.body.0 go together, one by one, with inputs 0-15 of 1.0.body.3"
    [row] = json.loads(json.dumps(plan.to_plain()))["blocks"][0]["groups"]
    assert row["channels"] == 16
    assert row["members"][1] == {"layer": "1.0.body.3", "role": "reads", "first": [0], "step": 1}
    assert not any(block.groups for block in blocks.plan().blocks)


# ---- cuts ---------------------------------------------------------------------------------------------------------
def test_a_module_to_be_kept_whole_is_one_node_and_loses_nothing():
    blocks = manager(cuts=Cuts(whole=("2.0",)))
    targets = [str(n.target) for n in blocks.teacher.graph.nodes]
    assert "2.0" in targets
    assert not any(target.startswith("2.0.") for target in targets)
    assert len(blocks.graph.blocks) == 7
    assert blocks.plan().opaque == {"2.0": "to be kept whole"}


def test_layers_of_a_module_to_be_left_dense_keep_their_sizes():
    blocks = manager(cuts=Cuts(dense=("1",)), ratio=1.0)
    kept = {k: v for b in blocks.block_names for k, v in blocks.derive(b, "sparsity=0.5").module.state_dict().items()}
    for name, value in resnet_cifar.resnet18().state_dict().items():
        if name in kept and name.startswith("1"):
            assert kept[name].shape == value.shape
    assert any(len(kept[name]) < len(value) for name, value in blocks.teacher.state_dict().items() if name in kept)
    assert any("'1' is to be left dense" in line for line in plan_lines(blocks.plan()))


class Shift(nn.Module):
    """A number per channel, outside any layer, repeated for every image."""

    def __init__(self, count):
        super().__init__()
        self.by = nn.Parameter(torch.rand(count, 1, 1))

    def forward(self, x):
        return x + self.by.expand(x.shape[0], -1, -1, -1)


def test_weights_outside_layers_of_a_module_to_be_left_dense_keep_their_size():
    model = nn.Sequential(conv(3, 8), conv(8, 16), Shift(16), conv(16, 8), conv(8, 4)).eval()
    for dense, kept in (((), 8), (("2",), 16)):
        blocks = manager(model, Cuts(dense=dense), ratio=1.0)
        [name] = blocks.block_names
        assert len(blocks.derive(name, "sparsity=0.5").module.get_parameter("2.by")) == kept


@pytest.mark.parametrize("names", [("1", "2"), ("2.0",), ("1", "1.1")])
def test_no_block_reaches_across_a_boundary(names):
    def inside(layer):
        return tuple(name for name in names if layer.startswith(f"{name}."))

    blocks = manager(cuts=Cuts(boundaries=names), ratio=1.0)
    for block in blocks.block_names:
        assert len({inside(layer) for layer in blocks.layers(block)}) == 1
    assert len({inside(layer) for b in blocks.block_names for layer in blocks.layers(b)}) > len(names)
    assert len(manager(ratio=1.0).block_names) == 1


def test_modules_that_do_not_exist_are_refused_with_what_was_probably_meant():
    with pytest.raises(ModelError, match=r"dense: the network has no module '3\.9'; did you mean '3\.1'"):
        manager(cuts=Cuts(dense=("3.9",)))


def test_cuts_are_part_of_what_results_are_kept_for():
    model = resnet_cifar.resnet18()
    assert manager(model).inputs != manager(model, Cuts(dense=("1",))).inputs
    assert manager(model).inputs == manager(model, Cuts()).inputs
