"""A composition computes what its parts compute, in every way; switching is safe; bad input is refused."""

import threading

import pytest
import torch
import torch.nn as nn

from legodnn.runtime import Network
from legodnn.runtime.engine import BACKENDS, compare, relative_error
from legodnn.runtime.engine.backends.known import ENGINES, Engine
from legodnn.runtime.engine.composer import Composer
from legodnn.shared.bundle.writer import write_bundle
from legodnn.shared.errors import BundleError, CompositionError, InputError, OperatorError, SelectionError
from legodnn.shared.programs.operators import ALLOWED, check_operators, check_program
from tests import bundles
from tests.bundles import selections
from tests.unit.runtime.torch_has import skip_without


@pytest.mark.parametrize("backend", BACKENDS, ids=str)
def test_every_backend_computes_what_the_eager_blocks_compute(network, maker, backend):
    x = torch.randn(4, 3, 16, 16)
    network.compose(selections()[0])
    skip_without(network, backend)
    for selection in selections()[::5]:
        found = network._workshop.composer.compose(selection, backend)(x)
        assert relative_error(found, maker.answer(selection, x)) < 1e-4


def test_before_anything_is_selected_the_teacher_runs(network, maker):
    x = torch.randn(2, 3, 16, 16)
    assert network.selection == network.manifest.original_selection
    assert relative_error(network(x), maker.answer({}, x)) < 1e-4


def test_selecting_changes_what_runs(network, maker):
    x = torch.randn(1, 3, 16, 16)
    for selection in (selections()[-1], selections()[7]):
        network.select(selection)
        assert network.selection == selection
        assert relative_error(network(x), maker.answer(selection, x)) < 1e-4


@pytest.mark.parametrize("size", [1, 3, 8])
def test_the_batch_size_is_free(network, size):
    assert network(torch.randn(size, 3, 16, 16)).shape == (size, 5)


@pytest.mark.parametrize(("bad", "reason"), [
    (torch.randn(1, 3, 16, 17), r"\(n, 3, 16, 16\) float32, not \(1, 3, 16, 17\)"),
    (torch.randn(3, 16, 16), "not"), (torch.randn(1, 3, 16, 16).double(), "float64"), ([1.0], "not list"),
    (torch.randn(0, 3, 16, 16), "empty"), (torch.tensor(1.0), "not"),
])  # fmt: skip
def test_wrong_inputs_are_refused(network, bad, reason):
    with pytest.raises(InputError, match=reason):
        network(bad)


def test_wrong_selections_name_what_there_is(network):
    good = network.manifest.original_selection
    with pytest.raises(SelectionError, match=r"block1 has no variant 'x', only original, sparsity=0.5"):
        network.select({**good, "block1": "x"})
    with pytest.raises(SelectionError, match="no block 'stem'"):
        network.select({**good, "stem": "original"})
    with pytest.raises(SelectionError, match="no variant for block0"):
        network.select({"block1": "original", "block2": "original"})


def test_a_failure_leaves_what_ran_before(network, maker, monkeypatch):
    old = selections()[4]
    network.select(old)
    monkeypatch.setattr(compare, "relative_error", lambda found, expected: 1.0)
    with pytest.raises(CompositionError, match="off by"):
        network.select(selections()[9])
    assert network.selection == old
    x = torch.randn(1, 3, 16, 16)
    assert relative_error(network(x), maker.answer(old, x)) < 1e-4


def test_frames_keep_flowing_while_another_thread_switches(network, maker):
    x = torch.randn(1, 3, 16, 16)
    expected = [maker.answer(s, x) for s in selections()]
    network(x)
    stop, wrong, frames = threading.Event(), [], [0]

    def run():
        while not stop.is_set():
            answer = network(x)
            frames[0] += 1
            if min(relative_error(answer, e) for e in expected) > 1e-4:
                wrong.append(answer)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for selection in selections()[:12]:
        network.select(selection)
    stop.set()
    for thread in threads:
        thread.join()
    assert frames[0] > 12
    assert wrong == []


def test_unchanged_segments_are_shared_between_compositions(network):
    first = network.compose(selections()[0])
    second = network.compose({**selections()[0], "block2": "sparsity=0.75"})
    assert first.parts[1] is second.parts[1]
    assert first.parts[3] is not second.parts[3]


def test_the_backend_is_found_once_and_cached(network, path, monkeypatch):
    network(torch.randn(1, 3, 16, 16))
    found = network.way
    monkeypatch.setattr(Composer, "find_backend", None)
    with Network.open(path) as again:
        again(torch.randn(1, 3, 16, 16))
        assert again.way == found


def test_a_backend_that_does_not_work_is_passed_over(network, monkeypatch):
    def broken(*args):
        raise RuntimeError("not here")

    for name in set(ENGINES) - {"plain"}:
        monkeypatch.setitem(ENGINES, name, Engine(broken))
    network(torch.randn(1, 3, 16, 16))
    assert network.way.engine == "plain"


def test_self_test_passes_here_and_notices_other_weights(network, tmp_path):
    results = network.self_test()
    assert len(results) == 3
    assert all(r.passed and r.error < 1e-4 for r in results)
    assert (results[0].right, results[0].judged) == (6, 6)
    maker, other = bundles.BundleMaker(), bundles.BundleMaker(seed=1)
    maker.answer = other.answer
    write_bundle(tmp_path / "other.lgb", maker.manifest(), maker.blobs)
    with Network.open(tmp_path / "other.lgb") as opened:
        assert not any(r.passed for r in opened.self_test())


def test_a_damaged_blob_is_noticed_when_it_is_used(path, tmp_path):
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    (tmp_path / "damaged.lgb").write_bytes(data)
    with Network.open(tmp_path / "damaged.lgb") as network, pytest.raises(BundleError, match="does not match its hash"):
        network.verify()


# ---- operators ----------------------------------------------------------------------------------------------------
class Reads(nn.Module):
    def forward(self, x):
        return x + torch.from_file("/etc/hostname", size=1, dtype=torch.uint8)


class Hidden(nn.Module):
    def forward(self, x):
        if x.sum() > 0:
            for _ in range(3):
                torch.save(x, "evil")
        return x


class Second(nn.Module):
    def forward(self, x):
        return x

    @torch.jit.export
    def other(self, x):
        return x


@pytest.mark.filterwarnings("ignore")
def test_programs_that_do_more_than_compute_are_refused():
    with pytest.raises(OperatorError, match="aten::from_file"):
        check_operators(torch.jit.script(Reads()), "test")
    with pytest.raises(OperatorError, match="aten::save"):
        check_operators(torch.jit.script(Hidden()), "test")
    with pytest.raises(OperatorError, match="methods beside"):
        check_operators(torch.jit.script(Second()), "test")
    with pytest.raises(OperatorError, match="__setstate__"):
        check_program({"code/x.py": b"def __setstate__(self): pass"}, "test")


def test_nothing_dangerous_is_allowed():
    assert not any(word in name for name in ALLOWED for word in ("file", "save", "load", "Python", "print", "open"))
