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


class Shifted(nn.Module):
    """A tensor that no state dict has: a plain attribute, or a buffer that is not stored."""

    def __init__(self, by, buffer):
        super().__init__()
        if buffer:
            self.register_buffer("by", torch.full((1, 4, 1, 1), by), persistent=False)
        else:
            self.by = torch.full((1, 4, 1, 1), by)

    def forward(self, x):
        return x + self.by


class Inside(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x)


def found(*middle, value=0.0, whole=()):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), *middle, nn.Conv2d(4, 2, 3)).eval()
    model[0].bias.data += value
    return identity(trace(model, [torch.zeros(1, 3, 8, 8)], whole))


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


@pytest.mark.parametrize("whole", [(), ("1",)], ids=["traced", "whole"])
@pytest.mark.parametrize("buffer", [True, False])
def test_tensors_that_no_state_dict_has_are_told_apart(buffer, whole):
    before, after = found(Shifted(0.1, buffer), whole=whole), found(Shifted(0.2, buffer), whole=whole)
    assert [name for name in before if before[name] != after[name]] == ["network's weights"]
    assert found(Shifted(0.1, buffer), whole=whole) == before


@pytest.mark.filterwarnings("ignore:.*torch.jit.script")
@pytest.mark.parametrize("make", [
    Scaled, lambda by: Inside(Scaled(by)), lambda by: Shifted(by, True), lambda by: Inside(Shifted(by, False)),
])  # fmt: skip
def test_scripted_modules_are_told_apart_by_their_attributes(make):
    before, after = (found(torch.jit.script(make(by))) for by in (0.1, 0.2))
    assert before != after
    assert found(torch.jit.script(make(0.1))) == before
