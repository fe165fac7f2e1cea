"""Seconds per variant are found again from measured compositions, and remembered."""

import random

import pytest
import torch

from legodnn.runtime import LatencyEstimator, Network, latency
from legodnn.runtime.seconds import LatencyTable, fit_table, read_table

SECONDS = {"original": 3e-3, "sparsity=0.5": 2e-3, "sparsity=0.75": 0.7e-3}
BASE = 1e-3


def truth(selection):
    return BASE + sum(SECONDS[v] * (1 + i) for i, v in enumerate(selection.values()))


def fake_measurement(monkeypatch, noise, seed=0):
    generator = random.Random(seed)

    def measure(compositions, inputs, rounds):
        return [truth(c.selection) * (1 + generator.gauss(0, noise)) for c in compositions]

    monkeypatch.setattr(latency, "time_interleaved", measure)


@pytest.mark.parametrize(("noise", "bound"), [(0.0, 0.01), (0.03, 0.15)])
def test_additive_seconds_are_found_again(network, monkeypatch, noise, bound):
    fake_measurement(monkeypatch, noise)
    estimator = LatencyEstimator(network)
    table = estimator.profile_all_blocks()
    generator = random.Random(5)
    for _ in range(30):
        selection = {b.name: generator.choice(b.variants).name for b in network.blocks}
        assert abs(estimator.predict(selection) / truth(selection) - 1) < bound
    assert table.median_error < bound


def test_all_variants_are_measured_equally_often(network):
    selections = LatencyEstimator(network)._selections()
    for block in network.blocks:
        counts = [sum(s[block.name] == v.name for s in selections[1:]) for v in block.variants]
        assert max(counts) - min(counts) <= 1


def test_the_table_is_remembered_per_bundle_and_thread_count(network, path, monkeypatch):
    fake_measurement(monkeypatch, 0.0)
    table = LatencyEstimator(network).profile_all_blocks()
    monkeypatch.setattr(latency, "time_interleaved", None)
    with Network.open(path) as again:
        assert LatencyEstimator(again).profile_all_blocks() == table
        assert again.latency == table
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        with Network.open(path) as other:
            assert read_table(other.cache.get("latency"), other.manifest) is None
    finally:
        torch.set_num_threads(threads)


def test_a_damaged_cache_counts_as_empty(network, monkeypatch):
    fake_measurement(monkeypatch, 0.0)
    LatencyEstimator(network).profile_all_blocks()
    network.cache.path.write_text("{ not json")
    assert network.cache.get("latency") is None
    network.cache.path.write_text('{"latency": {"base": "fast"}}')
    assert read_table(network.cache.get("latency"), network.manifest) is None


def test_progress_counts_up_to_the_end(network, monkeypatch):
    fake_measurement(monkeypatch, 0.0)
    seen = []
    LatencyEstimator(network).profile_all_blocks(lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1]


def test_no_seconds_are_negative_whatever_is_measured(network):
    generator = random.Random(0)
    selections = LatencyEstimator(network)._selections()
    table = fit_table(network.manifest, selections, [generator.uniform(1e-3, 1e-2) for _ in selections], 0.0)
    assert table.base >= 0
    assert all(s >= 0 for row in table.variants.values() for s in row.values())
    assert LatencyTable.from_plain(table.to_plain()) == table


def test_real_compositions_are_timed(network):
    table = LatencyEstimator(network).profile_all_blocks()
    largest, smallest = network.manifest.original_selection, {b.name: "sparsity=0.75" for b in network.blocks}
    assert 0 < table.predict(smallest) < table.predict(largest) < 1
