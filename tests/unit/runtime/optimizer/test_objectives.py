"""Every objective and every kind of bound against trying everything, on made-up networks."""

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from legodnn.runtime import InfeasibleBudget, ScalingOptimizer
from legodnn.runtime.optimizer import Power
from legodnn.runtime.optimizer.program import undominated
from legodnn.shared.errors import UsageError
from tests import made_up

TOLERANCE = 1e-6
NUMBERS = st.tuples(
    st.integers(0, 300).map(lambda n: n / 1000),
    st.integers(1, 1000).map(lambda n: n * 1e-6),
    st.integers(1, 1000),
    st.integers(1, 1000),
)
BLOCKS = st.lists(st.lists(NUMBERS, min_size=1, max_size=4), min_size=1, max_size=4)
POWER = Power(5.0, 2.0)


def everything(network, power=None):
    """All choices of a network, made by the definitions: sums, the largest peak, the predictor."""
    manifest = network.manifest
    for names in itertools.product(*([v.name for v in b.variants] for b in manifest.blocks)):
        selection = {b.name: name for b, name in zip(manifest.blocks, names, strict=True)}
        chosen = manifest.chosen(selection)
        size = sum(v.weight_bytes for v in chosen) + max(v.activation_bytes for v in chosen)
        yield selection, network.latency.predict(selection), size, manifest.predicted_accuracy(selection)


@settings(max_examples=150, deadline=None)
@given(
    blocks=BLOCKS,
    seconds=st.none() | st.floats(5e-5, 3e-3),
    memory=st.none() | st.integers(500, 5000),
    accuracy=st.none() | st.floats(0.3, 0.95),
    joules=st.none() | st.floats(1e-4, 9e-3),
    minimise=st.sampled_from([None, "time", "memory", "energy"]),
)
def test_any_request_is_answered_as_by_trying_everything(blocks, seconds, memory, accuracy, joules, minimise):
    network = made_up.network(blocks)
    if minimise is not None and accuracy is None:
        accuracy = 0.5
    optimizer = ScalingOptimizer(network, power=POWER)
    longest = min(seconds or math.inf, joules / 3.0 if joules else math.inf)
    best = {None: lambda c: -c[3], "memory": lambda c: c[2]}.get(minimise, lambda c: c[1])
    found = [
        c
        for c in everything(network)
        if c[1] <= longest * (1 - TOLERANCE)
        and c[2] <= (memory or math.inf) * (1 - TOLERANCE)
        and c[3] >= (accuracy or 0) + TOLERANCE
    ]
    try:
        choice = optimizer.choose(seconds, memory, joules=joules, accuracy=accuracy, minimise=minimise)
    except InfeasibleBudget:
        assert found == []
        return
    finally:
        assert optimizer.solves <= 3
    assert choice.seconds <= longest * (1 + 1e-12)
    assert choice.memory_bytes <= (memory or math.inf)
    assert choice.accuracy >= (accuracy or 0)
    assert choice.joules == pytest.approx(3.0 * choice.seconds)
    mine = best((choice.selection, choice.seconds, choice.memory_bytes, choice.accuracy))
    assert mine <= min(map(best, found), default=math.inf) * (1 - 1e-5 * (minimise is None) + 2e-6) + 1e-5


@settings(max_examples=60, deadline=None)
@given(BLOCKS)
def test_what_a_choice_needs_is_enough_for_it(blocks):
    optimizer = ScalingOptimizer(made_up.network(blocks), power=POWER)
    for choice in optimizer.frontier()[:12]:
        again = optimizer.choose(choice.seconds, choice.memory_bytes, accuracy=choice.accuracy)
        assert again.accuracy >= choice.accuracy  # ties add up in another order
        fastest = optimizer.choose(None, choice.memory_bytes, accuracy=choice.accuracy, minimise="time")
        assert fastest.seconds <= choice.seconds * (1 + 2e-6)


@settings(max_examples=60, deadline=None)
@given(BLOCKS)
def test_the_minima_are_achievable(blocks):
    optimizer = ScalingOptimizer(made_up.network(blocks))
    assert optimizer.choose(optimizer.minimum_seconds()).seconds == optimizer.minimum_seconds()
    assert optimizer.choose(None, optimizer.minimum_bytes()).memory_bytes == optimizer.minimum_bytes()


def test_the_least_of_something_needs_an_accuracy():
    network = made_up.network([[(0.0, 3e-4, 30, 1), (0.1, 1e-4, 10, 1)]])
    with pytest.raises(UsageError, match="for which accuracy"):
        ScalingOptimizer(network).choose(minimise="time")
    with pytest.raises(UsageError, match="'speed' cannot be minimised"):
        ScalingOptimizer(network).choose(minimise="speed", accuracy=0.5)


@pytest.mark.parametrize("accuracy", [0, -1, 90, 1.5, math.nan, "0.9", True])
def test_accuracies_that_are_no_fractions_are_refused(accuracy):
    network = made_up.network([[(0.0, 3e-4, 30, 1)]])
    with pytest.raises(UsageError, match=r"required accuracy.*fraction"):
        ScalingOptimizer(network).choose(accuracy=accuracy)


def test_an_accuracy_out_of_reach_is_refused_with_the_best_there_is():
    network = made_up.network([[(0.0, 3e-4, 30, 1), (0.1, 1e-4, 10, 1)]])
    with pytest.raises(InfeasibleBudget, match=r"top-1 accuracy 99\.00%.*top-1 accuracy 90\.00%"):
        ScalingOptimizer(network).choose(accuracy=0.99)


def test_energy_needs_power_figures_and_latencies():
    blocks = [[(0.0, 3e-4, 30, 1), (0.1, 1e-4, 10, 1)]]
    with pytest.raises(UsageError, match="power figures"):
        ScalingOptimizer(made_up.network(blocks)).choose(joules=1.0)
    with pytest.raises(UsageError, match="LatencyEstimator"):
        ScalingOptimizer(made_up.network(blocks, measured=False), power=POWER).choose(joules=1.0)
    assert ScalingOptimizer(made_up.network(blocks, measured=False), power=POWER).choose().joules is None


def test_energy_is_counted_beyond_idling():
    assert Power(5.0, 2.0).joules(0.5) == 1.5
    assert Power(5.0).joules(0.5) == 2.5
    assert Power(5.0, 2.0).watts(0.5) == 3.5


@pytest.mark.parametrize("figures", [(0,), (-1, 0), (2, 2), (2, 3), (math.inf, 1), (5, -1), ("5", 1)])
def test_power_figures_that_cannot_be_are_refused(figures):
    with pytest.raises(UsageError, match="watts"):
        Power(*figures)


def test_an_original_that_costs_something_is_no_shortcut():
    network = made_up.network([[(0.2, 3e-4, 30, 1), (0.1, 1e-4, 10, 1)]])
    assert ScalingOptimizer(network).choose().selection == {"block0": "v1"}


@given(st.lists(NUMBERS, min_size=1, max_size=6), st.integers(0, 1000), st.booleans(), st.booleans())
def test_only_variants_that_another_one_replaces_are_left_out(rows, lowest, timed, sized):
    from legodnn.runtime.optimizer.figures import Option

    def matters(option):
        peak = max(lowest, option.peak_bytes)
        return option.cost, option.seconds * timed, option.weight_bytes * sized, peak * sized

    options = [Option(str(i), *row) for i, row in enumerate(rows)]
    kept = undominated(options, lowest, timed, sized)
    for option in options:
        replaced = [k for k in kept if all(a <= b for a, b in zip(matters(k), matters(option), strict=True))]
        assert replaced == [option] if option in kept else replaced
