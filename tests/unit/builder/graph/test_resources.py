"""Resources are counted without numbers where that can be done, and come out the same."""

import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import fx
from torch.utils.flop_counter import FlopCounterMode

from legodnn.builder.graph.resources import count_flops, measure, peak_activation_bytes
from legodnn.builder.graph.tracing.trace import trace
from legodnn.builder.graph.values import metadata, metadata_of, tensors_in
from tests.networks import NETWORKS, conv, images, network


@pytest.mark.parametrize("name", NETWORKS)  # one of them looks at its data
def test_what_is_counted_on_the_meta_device_is_what_a_run_does(name):
    module, x = trace(network(name), [images(3)]), images(5)
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        module(x)
    found = measure(module, [x])
    assert found.flops == count_flops(module, [x]) == counter.get_total_flops() > 0
    values = _values(module, x)
    assert {node: metadata(node) for node in values} == {node: metadata_of(value) for node, value in values.items()}


class _Keeping(fx.Interpreter):
    """Runs a graph with numbers and keeps every value."""

    def __init__(self, module):
        super().__init__(module, garbage_collect_values=False)


def _values(module, x):
    run = _Keeping(module)
    with torch.no_grad():
        run.run(x)
    return run.env


def test_counting_leaves_the_weights_where_they_are():
    module = network("gated")
    before = {name: value.clone() for name, value in module.state_dict().items()}
    count_flops(module, [images()])
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


# ---- memory of activations -----------------------------------------------------------------------------------------
VALUE = 4 * 2 * 8 * 64
"""Bytes of 2 images of 8 channels of 8 x 8 entries."""


def peak_of(function, channels=8):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.weight = conv(3, channels), nn.Parameter(torch.randn(64, 64))

        def forward(self, x):
            return function(self, self.a(x))

    torch.manual_seed(0)
    return measure(trace(Model().eval(), [images(2)]), [images(2)]).activation_bytes


INPUT_BYTES = 4 * 2 * 3 * 64


@pytest.mark.parametrize(("function", "values"), [
    (lambda m, x: x.flatten(1), 1),
    (lambda m, x: x.view(2, -1).unsqueeze(1).squeeze(1), 1),
    (lambda m, x: x.transpose(1, 2).permute(0, 3, 1, 2), 1),
    (lambda m, x: F.dropout(x, 0.5, m.training), 1),
    (lambda m, x: x[:, :, 1:], 1),
    (lambda m, x: torch.stack(x.chunk(4, 1)), 2),
    (lambda m, x: x.transpose(1, 2).reshape(2, -1), 2),
    (lambda m, x: x.flatten(1).relu(), 2),
    (lambda m, x: (x.flatten(2) @ m.weight.t()).view(x.shape), 2),
    (lambda m, x: x.flatten(2).transpose(1, 2).exp().sum(1), 2),
])  # fmt: skip
def test_a_view_takes_no_memory_of_its_own(function, values):
    assert peak_of(function) == max(INPUT_BYTES + VALUE, values * VALUE)


def test_what_is_looked_at_lives_as_long_as_its_views():
    # While the second value is made, the first is there, though only a view of it is read later on.
    assert peak_of(lambda m, x: x.flatten(1) + torch.relu(torch.exp(x.mean((2, 3), keepdim=True) + x)).flatten(1)) == (
        3 * VALUE
    )


def test_both_results_of_an_operation_are_counted():
    found = peak_of(lambda m, x: torch.add(*torch.max(x, 1, keepdim=True)))
    assert found == VALUE + VALUE // 8 + 2 * VALUE // 8  # the indices have 8 bytes


@pytest.mark.parametrize("name", NETWORKS)
def test_the_peak_is_that_of_a_run(name):
    module, x = trace(network(name), [images(3)]), images(3)
    measure(module, [x])
    run = _Living(module)
    with torch.no_grad():
        run.run(x)
    assert peak_activation_bytes(module) == run.peak


class _Living(fx.Interpreter):
    """Runs a graph with numbers and looks at what memory is held after every node."""

    peak = 0

    def run_node(self, n):
        value = super().run_node(n)
        weights = {p.untyped_storage().data_ptr() for p in self.module.state_dict().values()}
        alive = [v for node, v in self.env.items() if node.op != "get_attr"]
        held = {
            t.untyped_storage().data_ptr(): t.untyped_storage().nbytes()
            for t in tensors_in([*alive, value if n.op not in ("output", "get_attr") else None])
        }
        self.peak = max(self.peak, sum(size for place, size in held.items() if place not in weights))
        return value
