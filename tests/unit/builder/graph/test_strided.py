"""Strided 1x1 convolutions are trained without their stride, with the same gradients."""

import subprocess
import sys

import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F

from legodnn.builder.graph.strided import StridesBySlicing

CASES = {
    "plain": (F.conv2d, (3, 8, 9, 9), (16, 8, 1, 1), {"stride": 2}),
    "two strides": (F.conv2d, (3, 8, 9, 9), (16, 8, 1, 1), {"stride": (1, 3), "padding": "valid"}),
    "groups": (F.conv2d, (3, 8, 9, 9), (16, 4, 1, 1), {"stride": 2, "groups": 2}),
    "dilated": (F.conv2d, (3, 8, 9, 9), (16, 8, 1, 1), {"stride": 2, "dilation": 2}),
    "padded": (F.conv2d, (3, 8, 9, 9), (16, 8, 1, 1), {"stride": 2, "padding": 1}),
    "many channels": (F.conv2d, (3, 16, 9, 9), (16, 16, 1, 1), {"stride": 2}),
    "3x3": (F.conv2d, (3, 8, 9, 9), (16, 8, 3, 3), {"stride": 2}),
    "no stride": (F.conv2d, (3, 8, 9, 9), (16, 8, 1, 1), {}),
    "one image": (F.conv2d, (8, 9, 9), (16, 8, 1, 1), {"stride": 2}),
    "1d": (F.conv1d, (3, 8, 9), (16, 8, 1), {"stride": 2}),
    "3d": (F.conv3d, (3, 8, 5, 9, 9), (16, 8, 1, 1, 1), {"stride": (1, 2, 2)}),
}
SLICED = {"plain", "two strides", "groups", "dilated", "one image", "1d", "3d"}


@pytest.mark.parametrize("name", CASES)
def test_outputs_and_gradients_are_the_same(name):
    convolution, shape, weight_shape, settings = CASES[name]
    torch.manual_seed(0)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(weight_shape, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(16, dtype=torch.float64, requires_grad=True)
    with StridesBySlicing():
        found = convolution(x, weight, bias, **settings)
    wanted = convolution(x, weight, bias, **settings)
    seed = torch.randn_like(wanted)
    assert torch.allclose(found, wanted)
    for a, b in zip(*(torch.autograd.grad(y, (x, weight, bias), seed) for y in (found, wanted)), strict=True):
        assert torch.allclose(a, b)
    assert ("Slice" in names_of_operations(found)) == (name in SLICED)


def names_of_operations(output):
    """The names of the operations that made ``output``, as autograd knows them."""
    names, left = [], [output.grad_fn]
    while left:
        function = left.pop()
        if function is not None:
            names.append(type(function).__name__)
            left.extend(following for following, _ in function.next_functions)
    return " ".join(names)


def test_nothing_is_sliced_where_no_gradient_is_computed():
    layer = nn.Conv2d(8, 16, 1, 2).requires_grad_(False)
    with StridesBySlicing():
        assert "Slice" not in names_of_operations(layer(torch.randn(3, 8, 9, 9, requires_grad=True)))


TRAINING = """
import torch
from legodnn.builder.graph.strided import StridesBySlicing
torch.set_num_threads(2)
torch.manual_seed(0)
for channels in (4, 8, 12):
    layer, x = torch.nn.Conv2d(channels, 16, 1, 2), torch.randn(5, channels, 32, 32)
    layer(x).square().mean().backward()
    wanted = layer.weight.grad.clone()
    layer.to(memory_format=torch.channels_last).zero_grad()
    with StridesBySlicing():
        for _ in range(20):
            layer(x.contiguous(memory_format=torch.channels_last)).square().mean().backward()
    assert torch.allclose(layer.weight.grad / 20, wanted, atol=1e-6)
"""


def test_few_channels_in_channels_last_are_trained_with_two_threads():
    """In a process of its own: without the context it crashes, hangs or learns something else."""
    done = subprocess.run([sys.executable, "-c", TRAINING], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
