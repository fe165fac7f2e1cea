"""Resources are counted without numbers where that can be done, and come out the same."""

import pytest
import torch
from torch import fx
from torch.utils.flop_counter import FlopCounterMode

from legodnn.builder.graph.resources import count_flops, measure
from legodnn.builder.graph.tracing.trace import trace
from legodnn.builder.graph.values import metadata, metadata_of
from tests.networks import NETWORKS, images, network


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
