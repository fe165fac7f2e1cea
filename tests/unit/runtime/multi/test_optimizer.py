"""Several networks at once against trying everything, and switching them all or none."""

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from legodnn.runtime import InfeasibleBudget
from legodnn.runtime.multi.optimizer import JointOptimizer
from legodnn.runtime.multi.workload import Duty
from legodnn.runtime.optimizer import Power
from legodnn.shared.errors import UsageError
from tests import made_up
from tests.unit.runtime.optimizer.test_objectives import NUMBERS, everything

TOLERANCE = 1e-6
CONVEX = made_up.CURVE
CONCAVE = ((0.0, 0.0), (0.05, 0.1), (0.3, 0.2), (1.0, 0.3))
BOTH = ((0.0, 0.0), (0.1, 0.1), (0.3, 0.12), (0.6, 0.5), (1.0, 0.55))
BLOCKS = st.lists(st.lists(NUMBERS, min_size=1, max_size=3), min_size=1, max_size=3)


@st.composite
def workloads(draw):
    network = made_up.network(draw(BLOCKS), curve=draw(st.sampled_from([CONVEX, CONCAVE, BOTH])))
    return Duty(
        network,
        frames_per_second=draw(st.integers(50, 500)),
        deadline=draw(st.none() | st.floats(2e-4, 3e-3)),
        weight=draw(st.sampled_from([0.5, 1.0, 3.0])),
        share=draw(st.sampled_from([0.25, 0.5, 1.0])),
        accuracy=draw(st.none() | st.floats(0.3, 0.85)),
    )


def combinations(given):
    """All selections of all networks: (choices, bytes, utilisation, weighted accuracy, what each network lacks)."""
    for picked in itertools.product(*(list(everything(d.network)) for d in given)):
        pairs = list(zip(given, picked, strict=True))
        size = sum(c[2] for _, c in pairs)
        used = sum(d.frames_per_second * d.share * c[1] for d, c in pairs)
        reached = sum(d.weight * c[3] for d, c in pairs)
        late = max(c[1] / min(d.deadline or math.inf, 1 / d.frames_per_second) for d, c in pairs)
        short = min(c[3] - (d.accuracy or -1) for d, c in pairs)
        yield size, used, reached, late, short


@settings(max_examples=120, deadline=None)
@given(
    some_workloads=st.lists(workloads(), min_size=1, max_size=3),
    memory=st.none() | st.integers(800, 9000),
    cores=st.floats(0.02, 1.0),
    minimise=st.sampled_from([None, None, "time", "memory", "energy"]),
)
def test_it_equals_trying_everything(some_workloads, memory, cores, minimise):
    if any(d.accuracy is None for d in some_workloads):
        minimise = None
    optimizer = JointOptimizer(some_workloads, power=Power(8.0, 3.0))
    possible = list(combinations(some_workloads))
    fitting = [
        c
        for c in possible
        if c[0] <= (memory or math.inf) * (1 - TOLERANCE)
        and c[1] <= cores * (1 - TOLERANCE)
        and c[3] <= 1 - TOLERANCE
        and c[4] >= TOLERANCE
    ]
    choice, refusal = None, None
    try:
        choice = optimizer.choose(memory, cores=cores, minimise=minimise)
    except InfeasibleBudget as error:
        refusal = error
    assert optimizer.solves <= 3
    if refusal is not None:
        assert fitting == []
        assert refusal.minimum_bytes == min(c[0] for c in possible)
        assert refusal.minimum_utilisation == pytest.approx(min(c[1] for c in possible))
        return
    assert choice.within_budget
    assert choice.memory_bytes == sum(c.memory_bytes for c in choice.choices) <= (memory or math.inf)
    used = sum(d.frames_per_second * d.share * c.seconds for d, c in zip(some_workloads, choice.choices, strict=True))
    assert choice.utilisation == pytest.approx(used)
    assert used <= cores * (1 + 1e-12)
    assert choice.watts == pytest.approx(3.0 + 5.0 * used)
    for workload, one in zip(some_workloads, choice.choices, strict=True):
        assert one.seconds <= min(workload.deadline or math.inf, 1 / workload.frames_per_second) * (1 + 1e-12)
        assert one.accuracy >= (workload.accuracy or 0)
    reached = sum(d.weight * c.accuracy for d, c in zip(some_workloads, choice.choices, strict=True))
    if minimise is None:
        assert reached >= max((c[2] for c in fitting), default=0) - 1e-5
    elif minimise == "memory":
        assert choice.memory_bytes <= min((c[0] for c in fitting), default=math.inf) * (1 + 1e-5)
    else:
        assert choice.utilisation <= min((c[1] for c in fitting), default=math.inf) * (1 + 1e-5)


@settings(max_examples=40, deadline=None)
@given(st.lists(BLOCKS, min_size=1, max_size=3), st.floats(0.3, 1.0))
def test_what_choices_need_is_enough_for_them(networks, share):
    optimizer = JointOptimizer([Duty(made_up.network(blocks), 100, share=0.3) for blocks in networks])
    choice = optimizer.choose(cores=max(share, optimizer.minimum_utilisation()))
    again = optimizer.choose(choice.memory_bytes, cores=choice.utilisation)
    assert sum(c.accuracy for c in again.choices) >= sum(c.accuracy for c in choice.choices) - 1e-9
    least = optimizer.choose(cores=optimizer.minimum_utilisation())
    assert least.utilisation == optimizer.minimum_utilisation()


def two(weights=(1.0, 1.0), **more):
    blocks = [[(0.0, 1e-3, 1000, 100), (0.2, 5e-4, 500, 100)]] * 2
    return [Duty(made_up.network(blocks), 100, weight=w, **more) for w in weights]


def test_the_network_with_the_larger_weight_gets_the_memory():
    pair = two(weights=(1.0, 5.0))
    choice = JointOptimizer(pair).choose(2 * 500 + 4 * 1000 - 1000)
    light, heavy = choice.choices
    assert heavy.accuracy > light.accuracy
    assert set(heavy.selection.values()) == {"original"}


def test_a_power_budget_is_a_bound_on_the_cores_time():
    optimizer = JointOptimizer(two(), power=Power(8.0, 3.0))
    free, tight = optimizer.choose(), optimizer.choose(watts=4.4)
    assert free.watts > 4.4 >= tight.watts
    with pytest.raises(InfeasibleBudget, match="of the cores"):
        optimizer.choose(watts=2.0)


def test_a_refusal_names_the_minima_and_what_is_out_of_reach_in_one_solve():
    pair = two(deadline=1e-4)
    optimizer = JointOptimizer(pair)
    with pytest.raises(InfeasibleBudget, match=r"workload 0 needs .* where it has 100 us; workload 1") as refusal:
        optimizer.update_models(1e6)
    assert optimizer.solves == 1
    assert refusal.value.minimum_bytes == optimizer.minimum_bytes() == 2 * (200 + 300 + 1000)
    assert refusal.value.minimum_utilisation == optimizer.minimum_utilisation()
    assert all(d.network.history == [] for d in pair)


def test_the_closest_are_taken_where_asked_for():
    choice = JointOptimizer(two(), closest=True).choose(10)
    assert not choice.within_budget
    assert choice.memory_bytes == JointOptimizer(two()).minimum_bytes()


def test_update_models_switches_all_networks_the_shrinking_ones_first():
    order = []
    pair = two(weights=(5.0, 1.0))
    for workload in pair:
        original = workload.network.select
        workload.network.select = lambda s, d=workload, o=original: (order.append(d), o(s))
    pair[0].network.history.append({"block0": "v1", "block1": "v1"})
    choice = JointOptimizer(pair).update_models(4000)
    assert [d.network.selection for d in pair] == [c.selection for c in choice.choices]
    assert order == [pair[1], pair[0]]


def test_where_one_network_cannot_be_switched_none_is():
    pair = two()
    pair[1].network.refuses = True
    with pytest.raises(RuntimeError, match="refused"):
        JointOptimizer(pair).update_models(JointOptimizer(pair).minimum_bytes())
    assert [d.network.selection for d in pair] == [d.network.manifest.original_selection for d in pair]


def test_several_networks_need_latencies_and_workloads_of_their_own():
    with pytest.raises(UsageError, match="no workloads"):
        JointOptimizer([])
    (workload,) = two(weights=(1.0,))
    with pytest.raises(UsageError, match="two workloads"):
        JointOptimizer([workload, workload])
    workload.network.latency = None
    with pytest.raises(UsageError, match=r"workload 0.*LatencyEstimator"):
        JointOptimizer([workload]).choose()
    with pytest.raises(UsageError, match="for which accuracy"):
        JointOptimizer(two()).choose(minimise="time")
    with pytest.raises(UsageError, match="power figures"):
        JointOptimizer(two()).choose(watts=5)


@pytest.mark.parametrize(
    "wrong",
    [
        {"frames_per_second": 0},
        {"frames_per_second": math.inf},
        {"frames_per_second": 1, "deadline": -1},
        {"frames_per_second": 1, "weight": 0},
        {"frames_per_second": 1, "share": 1.5},
        {"frames_per_second": 1, "accuracy": 90},
        {"frames_per_second": True},
    ],
)
def test_workloads_out_of_range_are_refused(wrong):
    with pytest.raises(UsageError, match="give a"):
        Duty(made_up.network([[(0.0, 1e-3, 1, 1)]]), **wrong)


@pytest.mark.parametrize("cores", [0, -1, 1.1, math.nan, "all", True])
def test_shares_of_cores_that_cannot_be_are_refused(cores):
    with pytest.raises(UsageError, match="share of cores"):
        JointOptimizer(two()).choose(cores=cores)
