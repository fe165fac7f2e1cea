"""Programs in prepacked operators compute what they were made from, and fuse what may be fused and nothing else."""

import collections

import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F

from legodnn.runtime.engine import relative_error
from legodnn.runtime.engine.backends import prepacked
from legodnn.runtime.engine.joining import function_of, quiet
from legodnn.shared.errors import CompositionError
from tests.unit.runtime.torch_has import no_prepacked

pytestmark = pytest.mark.skipif(no_prepacked(), reason="this torch has no prepacked operators")

CONVOLUTION = "mkldnn::_convolution_pointwise"


class Net(nn.Module):
    """Convolutions for a function to put together."""

    def __init__(self, forward, inputs=4, outputs=4, groups=1, stride=1):
        super().__init__()
        self.a = nn.Conv2d(inputs, outputs, 3, padding=1, stride=stride, groups=groups)
        self.b = nn.Conv2d(outputs, outputs, 1)
        self.one = nn.Conv2d(outputs, 1, 1)
        self.put_together = forward

    def forward(self, x):
        return self.put_together(self, x)


def lowered(model, *inputs):
    """The graph of a model in prepacked operators, fused."""
    with quiet():
        graph = torch.jit.freeze(torch.jit.trace(model.eval(), inputs, check_trace=False)).graph.copy()
        graph.eraseInput(0)
        graph = prepacked.packed(graph, inputs)
        prepacked.fuse(graph)
        graph.lint()
    return graph


def check(model, *inputs):
    """Lower a model, compare its answers at two batch sizes, and count what is left in the graph by kind."""
    graph = lowered(model, *inputs)
    function = function_of(graph)
    for given in (inputs, [torch.randn(3, *x.shape[1:]) for x in inputs]):
        with torch.no_grad():
            expected, found = model(*[x.clone() for x in given]), function(*[x.clone() for x in given])
        for mine, wanted in zip(found, expected, strict=True) if isinstance(expected, tuple) else [(found, expected)]:
            assert relative_error(mine, wanted) < 1e-5
    return collections.Counter(node.kind() for node in graph.nodes() if not node.kind().startswith("prim::"))


FUSED = {
    "alone": lambda m, x: m.a(x),
    "relu": lambda m, x: F.relu(m.a(x)),
    "relu in place": lambda m, x: m.a(x).relu_(),
    "relu6": lambda m, x: F.relu6(m.a(x)),
    "hardtanh": lambda m, x: F.hardtanh(m.a(x), -0.5, 0.25),
    "clamp": lambda m, x: m.a(x).clamp(0, 1),
    "hardswish": lambda m, x: F.hardswish(m.a(x)),
    "hardsigmoid": lambda m, x: F.hardsigmoid(m.a(x)),
    "silu": lambda m, x: F.silu(m.a(x)),
    "sigmoid": lambda m, x: m.a(x).sigmoid(),
    "tanh": lambda m, x: m.a(x).tanh(),
    "leaky": lambda m, x: F.leaky_relu(m.a(x), 0.1),
    "added": lambda m, x: m.a(x) + x,
    "added the other way round": lambda m, x: x + m.a(x),
    "added in place": lambda m, x: m.a(x).add_(x),
    "added, then relu": lambda m, x: F.relu(x + m.a(x)),
}


@pytest.mark.parametrize("name", FUSED)
def test_what_is_behind_a_convolution_becomes_part_of_it(name):
    assert check(Net(FUSED[name]), torch.randn(2, 4, 9, 7)) == {CONVOLUTION: 1}


def test_of_two_convolutions_that_are_added_the_later_adds_the_earlier():
    assert check(Net(lambda m, x: F.relu(m.a(x) + m.b(x))), torch.randn(2, 4, 8, 8)) == {CONVOLUTION: 2}


def test_a_residual_network_is_convolutions_only():
    def forward(m, x):
        for _ in range(3):
            x = F.relu(m.b(F.relu(m.a(x))) + x)
        return x

    assert check(Net(forward), torch.randn(2, 4, 8, 8)) == {CONVOLUTION: 6}


NOT_FUSED = {
    "read twice": (lambda m, x: F.relu(y := m.a(x)) * y, {"aten::relu": 1, "aten::mul": 1}),
    "added to itself": (lambda m, x: (y := m.a(x)) + y, {"aten::add": 1}),
    "added with a factor": (lambda m, x: torch.add(m.a(x), x, alpha=2), {"aten::add": 1}),
    "another shape added": (lambda m, x: m.a(x) + m.one(x), {"aten::add": 1, CONVOLUTION: 2}),
    "clamped from one side": (lambda m, x: m.a(x).clamp(min=0.1), {"aten::clamp": 1}),
    "what comes later added": (
        lambda m, x: (y := m.a(x)) + F.max_pool2d(y, 1), {"aten::add": 1, "aten::max_pool2d": 1},
    ),
    "an activation unknown": (lambda m, x: F.elu(m.a(x)), {"aten::elu": 1}),
    "changed in place": (lambda m, x: (y := x * 1.5).add_(m.a(x)) * y, {"aten::mul": 2, "aten::add_": 1}),
}


@pytest.mark.parametrize("name", NOT_FUSED)
def test_what_cannot_be_fused_stays(name):
    forward, others = NOT_FUSED[name]
    assert check(Net(forward), torch.randn(2, 4, 6, 6)) == {CONVOLUTION: 1, **others}


@pytest.mark.parametrize("options", [{"groups": 4}, {"groups": 2}, {"stride": 2}, {"inputs": 8, "outputs": 16}])
def test_convolutions_of_many_kinds_are_packed(options):
    model = Net(lambda m, x: F.relu(m.a(x)), **options)
    assert check(model, torch.randn(2, options.get("inputs", 4), 11, 8)) == {CONVOLUTION: 1}


def test_other_convolutions_stay_as_they_are():
    model = nn.Sequential(nn.Conv1d(3, 4, 3), nn.ReLU(), nn.ConvTranspose1d(4, 2, 2))
    assert check(model, torch.randn(2, 3, 9))[CONVOLUTION] == 0


def test_a_condition_inside_is_left_alone():
    class Chooses(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Conv2d(4, 4, 1)

        def forward(self, x):
            if bool(x.sum() > 0):
                return F.relu(self.a(x))
            return x

    with quiet():
        model = torch.jit.script(Chooses().eval())
        graph = torch.jit.freeze(model).graph.copy()
        graph.eraseInput(0)
        graph = prepacked.packed(graph, [torch.ones(1, 4, 3, 3)])
        prepacked.fuse(graph)
    for sign in (1, -1):
        x = sign * torch.rand(2, 4, 3, 3)
        assert torch.equal(function_of(graph)(x), model(x))


def test_several_outputs_come_back_in_order():
    check(Net(lambda m, x: (F.relu(m.a(x)), m.b(x))), torch.randn(2, 4, 5, 5))


def test_a_torch_without_the_operators_is_told_apart(monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    with pytest.raises(CompositionError, match="without oneDNN"):
        prepacked.require_operators()
