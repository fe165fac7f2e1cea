"""The frontier is what is left of all selections when those are taken out that another one equals or beats."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from legodnn.runtime import ScalingOptimizer
from legodnn.runtime.optimizer import Power
from tests import made_up
from tests.unit.runtime.optimizer.test_objectives import everything

# Eighths and whole numbers: sums are exact whatever their order, so that ties are ties.
NUMBERS = st.tuples(
    st.integers(0, 6).map(lambda n: n / 8), st.integers(1, 6).map(lambda n: n / 8), st.integers(1, 6), st.integers(1, 6)
)
BLOCKS = st.lists(st.lists(NUMBERS, min_size=1, max_size=4), min_size=1, max_size=4)
LEVEL = ((0.0, 0.0), (0.5, 0.0), (1.0, 0.25), (2.0, 0.25), (4.0, 1.0))


def oracle(points):
    """The points no other one equals or beats in everything, once each."""
    distinct = set(points)
    return {p for p in distinct if not any(q != p and all(a <= b for a, b in zip(q, p, strict=True)) for q in distinct)}


@settings(max_examples=100, deadline=None)
@given(BLOCKS, st.sampled_from([made_up.CURVE, LEVEL]), st.integers(0, 8))
def test_it_is_what_trying_everything_leaves(blocks, curve, peak):
    network = made_up.network(blocks, base=0.125, trunk=(3, peak), curve=curve)
    found = ScalingOptimizer(network).frontier()
    triples = [(c.seconds, c.memory_bytes, -c.accuracy) for c in found]
    assert len(set(triples)) == len(triples)
    assert set(triples) == oracle([(s, m, -a) for _, s, m, a in everything(network)])
    assert triples == sorted(triples)


@settings(max_examples=50, deadline=None)
@given(BLOCKS)
def test_without_latencies_it_is_about_memory_and_accuracy(blocks):
    network = made_up.network(blocks)
    expected = oracle([(m, -a) for _, _, m, a in everything(network)])
    network.latency = None
    found = ScalingOptimizer(network).frontier()
    assert {(c.memory_bytes, -c.accuracy) for c in found} == expected
    assert all(c.seconds is None for c in found)
    assert all(a.memory_bytes < b.memory_bytes and a.accuracy < b.accuracy for a, b in pairwise(found))


def test_where_activations_do_not_count_memory_means_weights():
    network = made_up.network([[(0.0, 0.5, 4, 9), (0.25, 0.25, 2, 90)]])
    found = ScalingOptimizer(network, count_activations=False, power=Power(4.0)).frontier()
    assert [c.memory_bytes for c in found] == [202, 204]
    assert [c.joules for c in found] == [4 * c.seconds for c in found]


def test_the_optimiser_chooses_from_the_frontier():
    import random

    network = made_up.realistic(random.Random(3), blocks=6, variants=4)
    optimizer = ScalingOptimizer(network)
    found = optimizer.frontier()
    for wanted in found[:: max(1, len(found) // 12)]:
        choice = optimizer.choose(wanted.seconds * (1 + 1e-5), wanted.memory_bytes * (1 + 1e-5))
        within = [c for c in found if c.seconds <= wanted.seconds and c.memory_bytes <= wanted.memory_bytes]
        assert choice.accuracy >= max(c.accuracy for c in within) - 1e-6
