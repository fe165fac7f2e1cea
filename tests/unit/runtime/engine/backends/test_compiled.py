"""What oneDNN compiles computes what it was made from, for any batch, from any thread; torch's switch is put back."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn as nn

from legodnn.runtime.engine import BACKENDS, relative_error
from legodnn.runtime.engine.backends.compiled import compiling, prepare
from legodnn.runtime.engine.joining import function_of, quiet
from legodnn.shared.errors import CompositionError

COMPILED = [backend for backend in BACKENDS if backend.engine == "compiled"]

pytestmark = pytest.mark.skipif(
    not hasattr(torch.jit, "enable_onednn_fusion") or not torch.backends.mkldnn.is_available()
    or not hasattr(torch.backends, "cpu") or torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"),
    reason="this torch compiles nothing",
)  # fmt: skip


def frozen(model, x):
    """A model as a function of a graph."""
    with quiet():
        graph = torch.jit.freeze(torch.jit.trace(model.eval(), x, check_trace=False)).graph.copy()
    graph.eraseInput(0)
    return function_of(graph)


def compiled(model, x):
    """A model as a function that has been compiled."""
    function = frozen(model, x)
    with torch.no_grad(), compiling():
        for _ in range(3):
            function(x)
    return function


def stack():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU()).eval()


@pytest.mark.parametrize("backend", COMPILED, ids=str)
def test_other_batches_are_computed_too(network, maker, backend):
    network.compose(network.manifest.original_selection)
    composition = network._workshop.composer.compose(network.manifest.original_selection, backend)
    for batch in (1, 5, 2, 1, 7, 3):
        x = torch.randn(batch, 3, 16, 16)
        assert relative_error(composition(x), maker.answer({}, x)) < 1e-4


@pytest.mark.parametrize("backend", COMPILED, ids=str)
def test_threads_at_once_get_their_own_answers(network, maker, backend):
    network.compose(network.manifest.original_selection)
    composition = network._workshop.composer.compose(network.manifest.original_selection, backend)
    inputs = [torch.randn(1 + i % 3, 3, 16, 16) for i in range(200)]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(composition, inputs))
    for x, found in zip(inputs, answers, strict=True):
        assert relative_error(found, maker.answer({}, x)) < 1e-4


def test_it_really_is_compiled():
    x, model = torch.randn(1, 3, 9, 9), stack()
    function = compiled(model, x)
    with torch.no_grad():
        assert relative_error(function(x), model(x)) < 1e-5
    assert torch._C._last_executed_optimized_graph().findNode("prim::oneDNNFusionGroup") is not None


class ReadsAgain(nn.Module):
    """Adds its input and what was computed of it, and reads the input once more below."""

    def forward(self, x):
        return torch.relu(x * 2) + x, x.sigmoid()


def test_what_is_read_again_is_set_apart_from_what_may_be_overwritten():
    x = torch.randn(1, 3, 4, 4)
    with quiet():
        graph = torch.jit.freeze(torch.jit.trace(ReadsAgain().eval(), x)).graph.copy()
    graph.eraseInput(0)
    prepare(graph)
    graph.lint()
    kinds = {node.kind(): [i.node().kind() for i in node.inputs()] for node in graph.nodes()}
    assert kinds["aten::add"][1] == "aten::alias"
    assert kinds["aten::relu"] == ["aten::mul"]
    with torch.no_grad():
        for found, wanted in zip(function_of(graph)(x), ReadsAgain()(x), strict=True):
            assert torch.equal(found, wanted)


def test_a_selection_that_the_backend_fails_for_runs_as_it_was_exported(network, maker, monkeypatch):
    network.compose(network.manifest.original_selection)
    composer, attempts = network._workshop.composer, []
    composer.backend = COMPILED[-1]
    monkeypatch.setattr("legodnn.runtime.engine.composer.require_agreement", disagree_unless_plain(attempts))
    composition = composer.compose(network.manifest.original_selection)
    assert str(composition.backend) == "channels_last plain"
    assert len(attempts) == 2
    assert composer.backend == COMPILED[-1]
    x = torch.randn(1, 3, 16, 16)
    assert relative_error(composition(x), maker.answer({}, x)) < 1e-4


def disagree_unless_plain(attempts):
    """`require_agreement` on a device where only what was exported is right."""

    def check(found, expected, what):
        attempts.append(what)
        if "plain" not in what:
            raise CompositionError(f"{what} is off")

    return check


def test_with_nothing_to_compile_it_says_so():
    with pytest.raises(CompositionError, match="nothing oneDNN could compile"):
        compiled(nn.Flatten(), torch.randn(1, 3, 9, 9))


def test_a_torch_without_it_is_told_apart(monkeypatch):
    monkeypatch.delattr(torch.jit, "enable_onednn_fusion")
    with pytest.raises(CompositionError, match="no oneDNN fusion"):
        compiled(stack(), torch.randn(1, 3, 9, 9))


@pytest.mark.parametrize("before", [False, True])
def test_the_process_gets_its_switch_back_as_it_was(before):
    torch.jit.enable_onednn_fusion(before)
    try:
        compiled(stack(), torch.randn(1, 3, 9, 9))
        assert torch.jit.onednn_fusion_enabled() is before
        with pytest.raises(ZeroDivisionError), compiling():
            1 / 0  # noqa: B018  (what raises while compiling)
        assert torch.jit.onednn_fusion_enabled() is before
    finally:
        torch.jit.enable_onednn_fusion(False)


def test_it_stays_on_until_the_last_has_compiled():
    x, inside, leave = torch.randn(1, 3, 9, 9), threading.Event(), threading.Event()

    def first():
        function = frozen(stack(), x)
        with torch.no_grad(), compiling():
            inside.set()
            leave.wait(30)
            for _ in range(3):
                function(x)

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(first)
        assert inside.wait(30)
        compiled(stack(), x)
        assert torch.jit.onednn_fusion_enabled()
        leave.set()
        running.result(30)
    assert not torch.jit.onednn_fusion_enabled()
