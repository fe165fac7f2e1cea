"""Two networks that compute different things never have the same identity."""

import pytest
import torch
import torch.nn as nn

from legodnn.builder.graph.identity import identity
from legodnn.builder.graph.tracing.trace import trace


class Scaled(nn.Module):
    def __init__(self, by):
        super().__init__()
        self.by = by

    def forward(self, x):
        return x * self.by


def found(*middle, value=0.0):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), *middle, nn.Conv2d(4, 2, 3)).eval()
    model[0].bias.data += value
    return identity(trace(model, [torch.zeros(1, 3, 8, 8)]))


@pytest.mark.parametrize(("first", "second"), [
    (nn.ReLU6(), nn.Hardtanh()), (nn.Hardtanh(0, 6), nn.Hardtanh(0, 5)), (nn.ReLU(), nn.LeakyReLU()),
    (nn.LeakyReLU(0.1), nn.LeakyReLU(0.2)), (nn.AvgPool2d(2), nn.MaxPool2d(2)), (nn.AvgPool2d(2), nn.AvgPool2d(2, 1)),
    (nn.Upsample(scale_factor=2), nn.Upsample(scale_factor=2, mode="bilinear")), (Scaled(1.5), Scaled(2.5)),
    (nn.BatchNorm2d(4), nn.BatchNorm2d(4, eps=1e-3)), (nn.GELU(), nn.GELU("tanh")),
    (nn.Softmax(1), nn.Softmax(2)), (nn.Softshrink(0.5), nn.Softshrink(0.6)),
])  # fmt: skip
def test_modules_that_compute_something_else_are_told_apart(first, second):
    before, after = found(first), found(second)
    assert before["network's structure"] != after["network's structure"]
    assert found(first) == before


def test_weights_are_told_apart():
    before, after = found(nn.ReLU()), found(nn.ReLU(), value=1e-3)
    assert [name for name in before if before[name] != after[name]] == ["network's weights"]
