"""There is what is free, and what the network has already."""

import pytest

from legodnn.runtime import FreeMemory
from legodnn.runtime.controller.sources import free_memory as free_memory_module
from legodnn.shared.errors import UsageError
from tests.unit.runtime.controlled import SMALL, Bench


def test_free_memory_is_a_share_of_what_is_free_and_of_what_the_network_has(monkeypatch):
    bench, free = Bench(), 20_000
    monkeypatch.setattr(free_memory_module, "free_memory", lambda root: free)
    source = FreeMemory(bench.network, share=0.5)
    assert source.read().memory_bytes == 10_000  # nothing has run yet, so the network has nothing
    bench.network.select(bench.network.selection)
    assert source.read().memory_bytes == 15_100
    bench.network.select(SMALL)
    free += 8_000  # which the smaller one does not take: what there is has not changed
    assert source.read().memory_bytes == 15_100
    free = 0
    assert source.read().memory_bytes == 1_100


def test_free_memory_has_a_share_that_can_be(monkeypatch):
    with pytest.raises(UsageError, match="share"):
        FreeMemory(Bench().network, share=1.5)
    monkeypatch.setattr(free_memory_module, "free_memory", lambda root: 0)
    assert FreeMemory(Bench().network).read().memory_bytes == 1
