"""The optimiser finds what trying everything finds, in one solve, also when there is nothing to find."""

import dataclasses
import itertools
import math

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from legodnn.runtime import InfeasibleBudget, ScalingOptimizer
from legodnn.runtime.device.latency_table import LatencyTable
from legodnn.runtime.device.memory_table import activation_bytes, needed_bytes, weight_bytes
from legodnn.shared.errors import UsageError

VALUES = st.integers(1, 1000)
ROW = st.tuples(VALUES, VALUES, VALUES, st.integers(0, 1000))  # microseconds, bytes, activations, cost


class Fake:
    """What the optimiser needs of a network."""

    def __init__(self, manifest, latency):
        self.manifest, self.latency, self.memory = manifest, latency, None
        self.selected, self.bound = None, None

    def usable_variants(self, block):
        return [v.name for v in self.manifest.segment(block).variants]

    def bound_kept(self, memory_bytes):
        self.bound = memory_bytes

    def select(self, selection):
        self.selected = selection


def fake(manifest, rows):
    """A network like the small bundle's, with other numbers."""
    segments, table = [], {}
    numbers = iter(rows)
    for segment in manifest.segments:
        variants = []
        for variant in segment.variants:
            micro, size, peak, cost = next(numbers) if segment.is_block else (0, 100, 300, 0)
            cost = 0.0 if variant.name == "original" else cost / 1000
            variants.append(dataclasses.replace(variant, weight_bytes=size, activation_bytes=peak, cost=cost))
            if segment.is_block:
                table.setdefault(segment.name, {})[variant.name] = micro * 1e-6
        segments.append(dataclasses.replace(segment, variants=tuple(variants)))
    changed = dataclasses.replace(manifest, segments=tuple(segments))
    return Fake(changed, LatencyTable(5e-5, table, 0.0, 0.0, 0.0, 0.0, 1))


def everything(network):
    names = [[(b.name, v.name) for v in b.variants] for b in network.manifest.blocks]
    for combination in itertools.product(*names):
        selection = dict(combination)
        cost = sum(network.manifest.segment(b).variant(v).cost for b, v in combination)
        yield selection, network.latency.predict(selection), needed_bytes(network.manifest, selection), cost


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(ROW, min_size=9, max_size=9), time=st.floats(1e-4, 4e-3), memory=st.integers(300, 5000))
def test_it_equals_trying_everything(network, rows, time, memory):
    other = fake(network.manifest, rows)
    optimizer, refusal = ScalingOptimizer(other), None
    # The solver works with tolerances, so budgets met by less than a millionth may be refused, but none exceeded.
    tolerance = 1 - 1e-6
    fitting = [cost for _, t, m, cost in everything(other) if t <= time * tolerance and m <= memory * tolerance]
    try:
        choice = optimizer.choose(time, memory)
    except InfeasibleBudget as error:
        refusal = error
    assert optimizer.solves <= 3
    if refusal is not None:
        assert fitting == []
        assert refusal.minimum_seconds == pytest.approx(min(t for _, t, _, _ in everything(other)))
        assert refusal.minimum_bytes == min(m for _, _, m, _ in everything(other))
        return
    assert choice.seconds <= time
    assert choice.memory_bytes <= memory
    cost = sum(other.manifest.segment(b).variant(v).cost for b, v in choice.selection.items())
    assert cost <= min(fitting, default=math.inf) + 1e-6


def test_without_a_budget_the_most_accurate_is_taken(network):
    choice = ScalingOptimizer(network).choose()
    assert choice.selection == network.manifest.original_selection
    assert choice.accuracy == network.manifest.predictor.teacher_accuracy
    assert choice.seconds is None


def test_update_model_switches_the_network(network):
    least = ScalingOptimizer(network).minimum_bytes()
    choice = ScalingOptimizer(network).update_model(None, least)
    assert network.selection == choice.selection != network.manifest.original_selection
    assert choice.memory_bytes == least == needed_bytes(network.manifest, choice.selection)


def test_memory_may_mean_weights_alone(network):
    both, alone = ScalingOptimizer(network), ScalingOptimizer(network, count_activations=False)
    selection = network.manifest.original_selection
    assert alone.choose().memory_bytes == weight_bytes(network.manifest, selection)
    peak = activation_bytes(network.manifest, selection)
    assert both.choose().memory_bytes - alone.choose().memory_bytes == peak


def test_a_refused_budget_leaves_the_network_as_it_is(network):
    before = network.selection
    optimizer = ScalingOptimizer(network)
    said = r"no selection fits 10 B: the best achievable is [\d.]+ KiB; the nearest"
    with pytest.raises(InfeasibleBudget, match=said) as refusal:
        optimizer.update_model(None, 10)
    assert optimizer.solves == 1
    assert network.selection == before
    assert refusal.value.minimum_bytes == refusal.value.closest_bytes


def test_the_closest_is_taken_where_asked_for(network):
    choice = ScalingOptimizer(network, closest=True).update_model(None, 10)
    assert not choice.within_budget
    assert choice.memory_bytes == ScalingOptimizer(network).minimum_bytes()


def test_a_time_budget_needs_measured_latencies(network):
    with pytest.raises(UsageError, match="LatencyEstimator"):
        ScalingOptimizer(network).choose(0.01)


@pytest.mark.parametrize("bad", [-1, 0, math.nan, math.inf, "5ms", True, torch.tensor(1.0)])
def test_budgets_that_are_no_positive_numbers_are_refused(network, bad):
    with pytest.raises(UsageError, match="budget"):
        ScalingOptimizer(network).choose(None, bad)
    with pytest.raises(UsageError, match="budget"):
        ScalingOptimizer(network).choose(bad)
