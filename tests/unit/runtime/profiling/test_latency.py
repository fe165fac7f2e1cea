"""Seconds per variant are found again from measured compositions, and remembered."""

import itertools
import random
import types

import pytest
import torch

from legodnn.runtime import LatencyEstimator, Network
from legodnn.runtime.device.cache import DeviceCache, cached
from legodnn.runtime.device.latency_table import LatencyTable, fit_table, read_table
from legodnn.runtime.profiling import latency
from legodnn.shared.errors import UsageError
from tests import made_up

SECONDS = {"original": 3e-3, "sparsity=0.5": 2e-3, "sparsity=0.75": 0.7e-3}
BASE = 1e-3


def truth(selection):
    return BASE + sum(SECONDS[v] * (1 + i) for i, v in enumerate(selection.values()))


def fake_measurement(monkeypatch, noise, seed=0):
    """Turns as on a device that slows down all the while, with noise."""
    generator, slower = random.Random(seed), [1.0]

    def measure(compositions, inputs, turns, repeats=1):
        rows = []
        for _ in range(turns):
            slower[0] *= 1.001
            rows.append([slower[0] * truth(c.selection) * (1 + generator.gauss(0, noise)) for c in compositions])
        return rows

    monkeypatch.setattr(latency, "time_turns", measure)


@pytest.mark.parametrize(("noise", "bound"), [(0.0, 0.01), (0.03, 0.10)])
def test_additive_seconds_are_found_again(network, monkeypatch, noise, bound):
    fake_measurement(monkeypatch, noise)
    estimator = LatencyEstimator(network)
    table = estimator.profile_all_blocks()
    generator = random.Random(5)
    for _ in range(30):
        selection = {b.name: generator.choice(b.variants).name for b in network.blocks}
        typical = table.predict(network.manifest.original_selection) / truth(network.manifest.original_selection)
        assert abs(estimator.predict(selection) / truth(selection) / typical - 1) < bound
    assert table.median_error < bound
    assert 0 < table.repeat_noise < table.worst_noise


def test_all_variants_are_measured_equally_often(network):
    selections = LatencyEstimator(network)._selections(40)
    assert len(selections) == 40
    for block in network.blocks:
        counts = [sum(s[block.name] == v.name for s in selections[1:]) for v in block.variants]
        assert max(counts) - min(counts) <= 1


def test_the_table_is_remembered_per_bundle_and_thread_count(network, path, monkeypatch):
    fake_measurement(monkeypatch, 0.0)
    table = LatencyEstimator(network).profile_all_blocks()
    monkeypatch.setattr(latency, "time_turns", None)
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
    with Network.open(path, batch=2) as other:
        assert read_table(other.cache.get("latency"), other.manifest) is None


def test_what_is_remembered_says_what_it_is_of_and_can_be_dropped(network, path, tmp_path, monkeypatch):
    fake_measurement(monkeypatch, 0.0)
    LatencyEstimator(network).profile_all_blocks()
    with Network.open(path, batch=2) as twice:
        LatencyEstimator(twice).profile_all_blocks()
        assert twice.cache.content()["about"]["batch"] == 2
    other = DeviceCache("another bundle")
    other.put("way", "on foot")
    assert {entry["about"]["bundle"] for entry in cached().values()} == {network.digest, "another bundle"}
    assert len(cached()) == 3
    assert network.cache.drop()
    assert list(cached()) == [str(other.path)]
    assert not network.cache.drop()
    assert network.cache.get("latency") is None


def test_a_batch_is_what_is_composed_for_and_measured(path):
    with Network.open(path, batch=3) as network:
        assert [x.shape[0] for x in network.sample_inputs()] == [3]
        assert network(torch.randn(3, 3, 16, 16)).shape[0] == 3
        assert network(torch.randn(1, 3, 16, 16)).shape[0] == 1
    with pytest.raises(UsageError, match="batch=0"):
        Network.open(path, batch=0)


@pytest.mark.parametrize("blocks", [3, 12, 60])
@pytest.mark.parametrize("seconds", [1e-4, 1.0])
def test_a_bounded_number_of_inferences_is_enough_for_any_network(blocks, seconds, monkeypatch):
    network, counted = MeasuredNetwork(blocks, seconds, monkeypatch), []

    def measure(compositions, inputs, turns, repeats):
        assert turns >= latency.FEWEST_TURNS
        counted.append(turns * repeats * len(compositions))
        return [[1e-3 for _ in compositions]] * turns

    monkeypatch.setattr(latency, "time_turns", measure)
    table = LatencyEstimator(network).profile_all_blocks()
    assert sum(counted) + latency.COMPOSING * network.composed <= latency.INFERENCES
    assert table.compositions > blocks


class MeasuredNetwork:
    """A network of a number of blocks, whose compositions take a given time; none of them is ever run."""

    def __init__(self, blocks, seconds, monkeypatch):
        made = made_up.network([[(0.1 * i, 1e-3, 100, 50) for i in range(5)]] * blocks)
        self.manifest, self.blocks, self.composed = made.manifest, made.manifest.blocks, 0
        self.cache, self.latency = DeviceCache("none", enabled=False), None
        clock = itertools.count()
        monkeypatch.setattr(latency, "time", types.SimpleNamespace(perf_counter=lambda: seconds * next(clock)))

    def sample_inputs(self):
        return []

    def compose(self, selection):
        self.composed += 1
        return Composed(selection)


class Composed:
    """A composition that does nothing."""

    def __init__(self, selection):
        self.selection = selection

    def __call__(self):
        return None


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
    selections = LatencyEstimator(network)._selections(20)
    table = fit_table(network.manifest, selections, [generator.uniform(0.1, 1) for _ in selections], [1e-2])
    assert table.base >= 0
    assert all(s >= 0 for row in table.variants.values() for s in row.values())
    assert LatencyTable.from_plain(table.to_plain()) == table


def test_real_compositions_are_timed(network):
    table = LatencyEstimator(network).profile_all_blocks()
    largest, smallest = network.manifest.original_selection, {b.name: "sparsity=0.75" for b in network.blocks}
    assert 0 < table.predict(smallest) < table.predict(largest) < 1
