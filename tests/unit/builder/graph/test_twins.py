"""The second batch size has shapes and no numbers: a network runs once, and answers about itself as it would."""

import torch
import torch.nn as nn
from torch.utils._python_dispatch import TorchDispatchMode

from legodnn.builder.graph.shapes import note_metadata
from legodnn.builder.graph.tracing.trace import trace
from legodnn.builder.graph.tracing.twins import twin_of, with_values
from legodnn.builder.graph.values import metadata
from tests.networks import conv, images
from tests.odd_networks import DataDependent


class Convolutions(TorchDispatchMode):
    """Counts the convolutions that compute numbers."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function is torch.ops.aten.convolution.default and not args[0].is_meta
        return function(*args, **(kwargs or {}))


def test_tracing_runs_a_network_once():
    model = nn.Sequential(conv(3, 8), nn.ReLU(inplace=True), conv(8, 8), nn.ReLU(inplace=True), conv(8, 4)).eval()
    with Convolutions() as convolutions:
        traced = trace(model, [images(2, 16)])
    assert traced.meta["any_batch"]
    assert convolutions.count == 3


class AsksWhere(nn.Module):
    """Asks its input about its device in all the ways there are, and makes tensors there."""

    def forward(self, x):
        assert x.is_cpu
        assert not x.is_meta
        assert not x.is_cuda
        assert x.get_device() == -1
        assert x.type() == "torch.FloatTensor"
        assert x.device == torch.device("cpu")
        steps = torch.arange(x.shape[-1], device=x.device, dtype=x.dtype)
        return x.cpu() + steps.to(x.device) + torch.zeros(x.shape[0], 1, 1, 1, device="cpu")


def test_a_network_that_asks_for_its_device_is_told_the_real_one():
    model = nn.Sequential(conv(3, 8), AsksWhere(), conv(8, 4)).eval()
    traced = trace(model, [images(2, 16)])
    assert traced.meta["any_batch"]
    assert not traced.meta["opaque"]
    for batch in (1, 3):
        assert torch.equal(traced(images(batch, 16)), model(images(batch, 16)))


class MakesTensors(nn.Module):
    """Adds tensors of its own, one of which is no buffer."""

    def __init__(self):
        super().__init__()
        self.grid = [torch.rand(16)]

    def forward(self, x):
        return x + self.grid[0] + torch.arange(x.shape[0], device=x.device).view(-1, 1, 1, 1)


def test_metadata_is_noted_without_a_run():
    traced = trace(nn.Sequential(conv(3, 8), MakesTensors(), conv(8, 4)).eval(), [images(2, 16)])
    with Convolutions() as convolutions:
        note_metadata(traced, [images(5, 16)])
    assert convolutions.count == 0
    assert {metadata(node).shape[0] for node in traced.graph.nodes if node.op == "call_module"} == {5}


def test_what_must_see_values_gets_the_first_batchs_and_its_result_is_on_the_meta_device():
    layer = DataDependent().eval()
    first = torch.rand(2, 8, 6, 6)
    second = torch.empty(3, 8, 6, 6, device="meta")
    found = twin_of(layer, ((first,), {}), ((second,), {}))
    assert found.is_meta
    assert found.shape == layer(torch.cat([first, first[:1]])).shape


def test_values_of_the_second_batch_are_those_of_a_batch_with_its_first_item_again():
    x = torch.rand(2, 3, 4)
    twin = torch.empty(3, 3, 4, device="meta")
    (made, scale), named = with_values(((x, 2.0), {"mask": x > 0.5}), ((twin, 2.0), {"mask": twin > 0.5}))
    expected = torch.cat([x, x[:1]])
    assert torch.equal(made, expected)
    assert torch.equal(named["mask"], expected > 0.5)
    assert scale == 2.0


class Remembers(nn.Module):
    """Adds what it was given in the call before."""

    def __init__(self):
        super().__init__()
        self.last = None

    def forward(self, x):
        mean = 0.0 if self.last is None else self.last.mean()
        self.last = x
        return x + mean


def test_what_a_module_keeps_of_the_second_batch_is_forgotten():
    layer, first = Remembers(), torch.rand(2, 3)
    layer(first)
    assert twin_of(layer, ((first,), {}), ((torch.empty(3, 3, device="meta"),), {})).shape == (3, 3)
    assert layer.last is first
