"""While a network runs, denormal numbers are zero; before and after, the thread is as its owner wants it."""

import pytest
import torch

from legodnn.runtime.engine.denormals import is_flushing, run_flushing

DENORMAL = torch.full((4,), 1e-39)

pytestmark = pytest.mark.skipif(not torch.set_flush_denormal(False), reason="this CPU cannot flush denormal numbers")


def test_denormal_numbers_are_zero_while_it_runs_and_not_after():
    assert float((DENORMAL * 1.0).sum()) > 0
    assert float(run_flushing(lambda x: x * 1.0, [DENORMAL]).sum()) == 0
    assert not is_flushing()
    assert float((DENORMAL * 1.0).sum()) > 0


def test_a_thread_that_flushes_already_goes_on_doing_so():
    torch.set_flush_denormal(True)
    try:
        assert float(run_flushing(lambda x: x * 1.0, [DENORMAL]).sum()) == 0
        assert is_flushing()
    finally:
        torch.set_flush_denormal(False)


def test_the_mode_is_put_back_where_the_network_raises():
    with pytest.raises(ZeroDivisionError):
        run_flushing(lambda x: 1 / 0, [DENORMAL])
    assert not is_flushing()


def test_compositions_run_in_it(network, monkeypatch):
    modes = []
    composition = network.compose(network.manifest.original_selection)
    function = composition.function
    composition.function = lambda *inputs: (modes.append(is_flushing()), function(*inputs))[1]
    composition(*network.sample_inputs())
    assert modes == [True]
