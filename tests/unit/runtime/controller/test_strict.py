"""Strict: at no moment of any switch is more memory needed than there is."""

import itertools
import random
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from legodnn.runtime import Budget
from legodnn.runtime.controller import mover as mover_module
from legodnn.runtime.controller.mover import Mover
from legodnn.runtime.controller.switch_plan import COPIES, SwitchPlanner
from legodnn.runtime.device.memory_table import activation_bytes, needed_bytes, needed_together, weight_bytes
from legodnn.shared.errors import CompositionError
from tests import made_up
from tests.unit.runtime.controlled import LARGE, SMALL, Bench

TWINS = [[(0.0, 0.010, 8_000, 100), (0.1, 0.005, 4_000, 100), (0.3, 0.002, 1_000, 100)] for _ in range(10)]
"""Ten blocks; with trunk and peak the teacher needs 80,500 bytes and the smallest 10,500."""


class Watched(Bench):
    """A bench whose network notes how many bytes every switch needs while it is made, by an account of its own."""

    def __init__(self, **options):
        super().__init__(TWINS, strict=True, **options)
        self.peaks, select = [], self.network.select

        def watch(selection):
            manifest, old = self.network.manifest, self.network.selection
            if selection != old:
                pieces = {(b, s[b]) for s in (old, selection) for b in s}
                weights = sum(manifest.segment(b).variant(v).weight_bytes for b, v in pieces) + 200
                loading = max(manifest.segment(b).variant(v).weight_bytes for b, v in selection.items() if v != old[b])
                self.peaks.append(weights + COPIES * loading + 2 * 300)
            return select(selection)

        self.network.select = watch

    def settle(self, budget, seconds=30):
        self.peaks.clear()
        for _ in range(seconds):
            self.look(budget, after=1)


def ran(bench):
    """The teacher has run already."""
    bench.network.select(bench.network.selection)
    bench.network.recent = [0.04]
    return bench


def test_a_switch_that_needs_too_much_at_once_is_made_in_several():
    bench = Watched(budget=Budget(0.021, 200_000), dwell=1)
    ran(bench).look()
    bench.settle(Budget(1.0, 116_000))
    assert len(bench.peaks) > 1
    assert max(bench.peaks) <= 116_000
    up = bench.events[-1]
    assert (up.reason, up.detail) == ("looser", f"in {len(bench.peaks)} switches, to stay within the memory budget")
    assert weight_bytes(bench.network.manifest, bench.selection) == 80_200


def test_where_no_plan_fits_a_smaller_selection_is_taken():
    bench = Watched(budget=Budget(0.021, 200_000), dwell=1, hysteresis=0)
    ran(bench).look()
    bench.settle(Budget(1.0, 81_000))  # enough for the teacher, not for the last step to it
    assert bench.selection != bench.network.manifest.original_selection
    assert weight_bytes(bench.network.manifest, bench.selection) > 40_000
    assert max(bench.peaks) <= 81_000


def test_memory_that_does_not_even_allow_a_step_leaves_what_runs_and_says_so_once():
    bench = Watched(budget=Budget(1.0, 200_000), dwell=1)
    ran(bench).look()
    bench.settle(Budget(0.05, 81_000))
    assert bench.peaks == []
    assert bench.reasons == ["start", "unreachable"]
    assert bench.selection == bench.network.manifest.original_selection


def test_a_budget_that_is_exceeded_already_is_left_by_the_plan_that_needs_least():
    bench = Watched(budget=Budget(1.0, 200_000), dwell=1)
    ran(bench).look()
    bench.settle(Budget(1.0, 20_000))
    direct = SwitchPlanner(bench.network.manifest).bytes(bench.network.manifest.original_selection, bench.selection)
    assert needed_bytes(bench.network.manifest, bench.selection) <= 20_000
    assert 80_500 < max(bench.peaks) < direct


@pytest.mark.parametrize("seed", range(5))
def test_random_budgets_are_never_exceeded_but_by_what_runs_already(seed):
    generator = random.Random(seed)
    bench = Watched(budget=Budget(None, 200_000), dwell=1, hysteresis=0.02)
    ran(bench).look()
    moved = 0
    for _ in range(60):
        budget = Budget(generator.choice([None, 0.03, 0.08]), generator.uniform(30_000, 200_000))
        before = needed_bytes(bench.network.manifest, bench.selection)
        bench.settle(budget, seconds=2)
        moved += len(bench.peaks)
        assert before > budget.memory_bytes or max(bench.peaks, default=0) <= budget.memory_bytes
    assert moved > 20


def test_nothing_is_cached():
    bench = Watched(budget=Budget(None, 60_000))
    bench.look()
    assert bench.network.keep_within == 0


def test_memory_comes_before_time():
    rows = [[(0.0, 0.010, 10_000, 100), (0.1, 0.005, 5_000, 100), (0.2, 0.001, 8_000, 100), (0.3, 0.004, 2_000, 100)]]
    bench = Bench(rows, strict=True, budget=Budget(1.0, 60_000))
    ran(bench).look()
    event = bench.look(Budget(0.0005, 5_600))
    assert (event.reason, event.new) == ("infeasible", {"block0": "v3"})
    assert event.predicted.memory_bytes <= 5_600


def test_where_nothing_runs_yet_something_small_does_in_the_end():
    bench = Bench(strict=True, budget=Budget(None, 4_000))
    assert bench.look().new == SMALL


# ---- switch plans ----------------------------------------------------------------------------------------------------
@settings(max_examples=150, deadline=None)
@given(data=st.data(), seed=st.integers(0, 10**6), share=st.floats(0.2, 3))
def test_a_switch_plan_leads_there_and_is_within_the_limit_where_it_says_so(data, seed, share):
    generator = random.Random(seed)
    network = made_up.realistic(generator, blocks=data.draw(st.integers(1, 5)), variants=3)
    manifest = network.manifest
    old, new = ({b.name: generator.choice(b.variants).name for b in manifest.blocks} for _ in range(2))
    limit = share * weight_bytes(manifest, manifest.original_selection)
    plan = SwitchPlanner(manifest).find(old, new, limit)
    assert plan.steps[-1] == new
    route = [old, *plan.steps]
    pairs = [(a, b) for a, b in itertools.pairwise(route) if a != b]
    for a, b in pairs:
        assert needed_together(manifest, [a, b]) + activation_bytes(manifest, a) <= plan.peak_bytes + max(
            0, activation_bytes(manifest, a) - activation_bytes(manifest, b)
        )
    if SwitchPlanner(manifest).bytes(old, new) <= limit:
        assert plan.steps == [new]
    assert plan.peak_bytes <= max(limit, SwitchPlanner(manifest).bytes(old, new) * 2)


def test_weights_alone_count_where_memory_means_them():
    network = made_up.network(TWINS)
    original = network.manifest.original_selection
    new = {**original, "block0": "v1"}
    weights_alone, planner = (SwitchPlanner(network.manifest, count_activations=count) for count in (False, True))
    assert weights_alone.bytes(original, new) == 80_200 + 4_000 * (1 + COPIES)
    assert planner.bytes(original, new) == 80_800 + 4_000 * (1 + COPIES)
    assert planner.bytes(None, new) == 76_200 + 8_000 * COPIES + 300


# ---- compositions that are still in use -----------------------------------------------------------------------------
def test_the_next_step_waits_until_nobody_is_in_what_was_replaced_before():
    bench = Bench(strict=True)
    network = bench.network
    inside = [network.select(LARGE)]
    mover, order = Mover(network, strict=True, count_activations=True), []
    mover.keep_within(None)
    select = network.select

    def noted(selection):
        order.append(selection["block0"])
        if selection == {"block0": "v1"}:
            threading.Timer(0.05, lambda: (order.append("left"), inside.clear())).start()
        return select(selection)

    network.select = noted
    mover.go([{"block0": "v1"}, SMALL])
    assert order == ["original", "v1", "left", "v2"]


def test_an_inference_that_never_ends_ends_the_switch_plan_where_it_is(monkeypatch):
    monkeypatch.setattr(mover_module, "LONGEST_INFERENCE", 0.01)
    bench = Bench(strict=True)
    inside = bench.network.select(LARGE)
    with pytest.raises(CompositionError, match="has not ended"):
        Mover(bench.network, strict=True, count_activations=True).go([{"block0": "v1"}, SMALL])
    assert bench.selection == {"block0": "v1"}
    assert inside is not bench.network.running
