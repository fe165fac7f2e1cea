"""Tracing keeps what a network computes, and leaves nothing that changes its input."""

import copy

import pytest
import torch
import torch.nn as nn

from legodnn.builder.graph.tracing.trace import trace
from legodnn.builder.graph.values import metadata
from legodnn.shared.errors import ModelError
from tests.networks import NETWORKS, images, network


@pytest.mark.parametrize("name", NETWORKS)
def test_a_trace_computes_what_the_network_computes_bit_for_bit(name):
    model, x = network(name), images()
    with torch.no_grad():
        assert torch.equal(trace(model, [x])(x), model(x))


@pytest.mark.parametrize("name", NETWORKS)
def test_no_node_of_a_trace_changes_a_tensor(name):
    x = images()
    module = trace(network(name), [x])
    values = {}

    class Watch(torch.fx.Interpreter):
        def run_node(self, n):
            before = {i: self.env[i]._version for i in n.all_input_nodes if isinstance(self.env[i], torch.Tensor)}
            result = super().run_node(n)
            values.update({n: {i: self.env[i]._version == v for i, v in before.items()}})
            return result

    Watch(module, garbage_collect_values=False).run(x)
    assert all(unchanged for row in values.values() for unchanged in row.values())


def test_the_users_network_is_left_untouched():
    model = network("pre-activation")
    before = copy.deepcopy(model.state_dict())
    model.train()
    trace(model, [images()])
    assert model.training
    assert model.act.inplace
    assert all(p.requires_grad for p in model.parameters())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_an_odd_layer_costs_one_leaf_and_not_the_network():
    module = trace(network("dynamic"), [images()])
    targets = [str(n.target) for n in module.graph.nodes if n.op == "call_module"]
    assert "odd" in targets
    assert {"a", "b", "c", "head"} <= set(targets)


def test_every_node_knows_its_shape():
    module = trace(network("gated"), [images(3)])
    conv = next(n for n in module.graph.nodes if n.target == "expand")
    assert metadata(conv).shape == (3, 24, 8, 8)
    assert metadata(conv).bytes == 3 * 24 * 64 * 4


def test_an_in_place_change_seen_through_a_view_is_refused():
    class Alias(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 1)

        def forward(self, x):
            x = self.conv(x)
            view = x.flatten(1)
            x.relu_()
            return view

    with pytest.raises(ModelError, match="looks at the same memory"):
        trace(Alias(), [images()])


def test_a_wrong_input_shape_is_named():
    with pytest.raises(ModelError, match=r"does not run on an input of shape \(2, 5, 8, 8\)"):
        trace(network("gated"), [torch.randn(2, 5, 8, 8)])


def test_a_top_level_that_cannot_be_traced_is_a_model_error():
    class Top(nn.Module):
        def forward(self, x):
            return x if float(x.sum()) > 0 else -x

    with pytest.raises(ModelError, match="top level cannot be traced"):
        trace(Top(), [images()])


def test_an_in_place_activation_used_everywhere_leaves_no_copies_behind():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.act = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.ReLU(inplace=True)

        def forward(self, x):
            return self.act(self.b(self.act(self.a(x))))

    model = Twice().eval()
    module = trace(model, [images()])
    assert [n.target for n in module.graph.nodes if n.op == "call_method"] == []
    with torch.no_grad():
        assert torch.equal(module(images()), model(images()))
