"""Programs in XNNPACK's operators compute what they were made from; a torch without them is not kept from running.

`bash packaging/lowest_versions.sh runtime` runs these tests with a torch that has the operators.
"""

import collections

import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F

from legodnn.runtime.engine import Backend, relative_error
from legodnn.runtime.engine.backends import xnnpack
from legodnn.runtime.engine.joining import function_of, quiet
from legodnn.shared.errors import CompositionError
from tests.unit.runtime.torch_has import no_xnnpack

CONVOLUTION = "prepacked::conv2d_clamp_run"
BACKEND = Backend("channels_last", "xnnpack")


with_operators = pytest.mark.skipif(no_xnnpack(), reason="this torch was built without XNNPACK")


class Net(nn.Module):
    """A convolution for a function to put something behind."""

    def __init__(self, behind, **options):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, **{"padding": 1, **options})
        self.behind = behind

    def forward(self, x):
        return self.behind(self.conv(x), x)


def check(model, x):
    """Pack a model, compare its answers at two batch sizes, and count what is left in the graph by kind."""
    with quiet():
        graph = torch.jit.freeze(torch.jit.trace(model.eval(), x, check_trace=False)).graph.copy()
        graph.eraseInput(0)
        graph = xnnpack.packed(graph, [x])
        graph.lint()
        function = function_of(graph)
        for given in (x, torch.randn(3, *x.shape[1:])):
            assert relative_error(function(given.clone()), model(given.clone())) < 1e-5
    return collections.Counter(node.kind() for node in graph.nodes() if not node.kind().startswith("prim::"))


BOUNDED = {
    "alone": lambda y, x: y,
    "relu": lambda y, x: F.relu(y),
    "relu in place": lambda y, x: y.relu_(),
    "relu6": lambda y, x: F.relu6(y),
    "hardtanh": lambda y, x: F.hardtanh(y, -0.5, 0.25),
    "clamp": lambda y, x: y.clamp(0, 1),
}
LEFT = {
    "another activation": (lambda y, x: torch.sigmoid(y), "aten::sigmoid"),
    "one bound": (lambda y, x: y.clamp(min=0.1), "aten::clamp"),
    "a sum": (lambda y, x: y + x, "aten::add"),
    "read twice": (lambda y, x: F.relu(y) * y, "aten::relu"),
}


@with_operators
@pytest.mark.parametrize("name", BOUNDED)
def test_bounds_behind_a_convolution_become_part_of_it(name):
    assert check(Net(BOUNDED[name]), torch.randn(2, 4, 9, 7)) == {CONVOLUTION: 1}


@with_operators
@pytest.mark.parametrize("name", LEFT)
def test_anything_else_stays(name):
    behind, kind = LEFT[name]
    left = check(Net(behind), torch.randn(2, 4, 9, 7))
    assert left[CONVOLUTION] == left[kind] == 1


@with_operators
@pytest.mark.parametrize("options", [
    {"stride": 2}, {"dilation": 2}, {"groups": 2}, {"groups": 4}, {"bias": False}, {"padding": (0, 2)},
])  # fmt: skip
def test_all_geometries_are_done(options):
    assert check(Net(BOUNDED["relu"], **options), torch.randn(2, 4, 9, 7))[CONVOLUTION] == 1


@with_operators
def test_compositions_run_in_it_and_share_what_is_packed(network, maker):
    composer = network._workshop.ready_composer()
    x = network.sample_inputs()[0]
    one = {f"block{i}": "original" for i in range(3)}
    other = {**one, "block1": "sparsity=0.5"}
    first, second = composer.compose(one, BACKEND), composer.compose(other, BACKEND)
    assert first.backend == second.backend == BACKEND
    assert relative_error(first(x), maker.answer(one, x)) < 1e-5
    assert relative_error(second(x), maker.answer(other, x)) < 1e-5
    assert [a is b for a, b in zip(first.parts, second.parts, strict=True)] == [True, True, False, True, True]


@pytest.mark.skipif(not no_xnnpack(), reason="this torch has XNNPACK")
def test_without_the_operators_the_backend_is_refused_and_the_others_serve(network):
    composer = network._workshop.ready_composer()
    with pytest.raises(CompositionError, match="built without XNNPACK"):
        composer.compose(network.manifest.original_selection, BACKEND)
    assert composer.find_backend() != BACKEND
