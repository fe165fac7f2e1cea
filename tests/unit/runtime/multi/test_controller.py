"""Several made-up networks under one controller, with a clock that the tests move."""

import pytest

from legodnn.runtime import Budget
from legodnn.runtime.controller import SharedMemory
from legodnn.runtime.device.memory_table import needed_together
from legodnn.runtime.multi.controller import JointController
from legodnn.runtime.multi.workload import Duty
from legodnn.shared.errors import UsageError
from tests import made_up
from tests.unit.runtime.controlled import LARGE, MIDDLE, ROWS, SMALL, Controlled, Given


class Bench:
    """Two networks of 10,500, 5,500 and 2,500 bytes that take 10, 5 and 2 ms, twenty frames a second each.

    Inferences are taken to take as long as predicted.
    """

    def __init__(self, budget=None, rates=(20, 20), weights=(1, 1), caution=1.0, **options):
        made = [made_up.network((ROWS,), base=0.0) for _ in rates]
        self.networks = [Controlled(m.manifest, m.latency) for m in made]
        workloads = [Duty(n, r, weight=w) for n, r, w in zip(self.networks, rates, weights, strict=True)]
        self.given, self.events, self.now = Given(budget), [], 100.0
        self.controller = JointController(
            workloads,
            self.given,
            on_event=lambda number, event: self.events.append((number, event.reason)),
            clock=lambda: self.now,
            caution=caution,
            **options,
        )

    def look(self, budget=None, after=0.5):
        self.now += after
        if budget is not None:
            self.given.budget = budget
        return self.controller.step()

    @property
    def selections(self):
        return [network.selection for network in self.networks]


def test_the_first_look_chooses_for_all():
    bench = Bench(Budget(memory_bytes=16_000), weights=(1, 5))
    assert bench.look()
    assert bench.selections == [MIDDLE, LARGE]  # the second counts more
    assert bench.events == [(0, "start"), (1, "start")]


def test_a_tighter_budget_is_obeyed_at_once_and_only_who_changes_is_spoken_of():
    bench = Bench(Budget(memory_bytes=21_000), weights=(1, 5))
    bench.look()
    assert bench.selections == [LARGE, LARGE]
    assert bench.look(Budget(memory_bytes=16_000))
    assert bench.selections == [MIDDLE, LARGE]
    assert bench.events[2:] == [(0, "tighter")]


def test_something_better_waits_for_the_dwell_and_leaves_a_reserve():
    bench = Bench(Budget(memory_bytes=16_000), weights=(1, 5), dwell=5.0, hysteresis=0.1)
    bench.look()
    assert not bench.look(Budget(memory_bytes=23_200), after=4.0)
    assert bench.look(after=2.0)
    assert bench.selections == [LARGE, LARGE]
    assert bench.events[2:] == [(0, "looser")]
    near = Bench(Budget(memory_bytes=16_000), weights=(1, 5), dwell=5.0, hysteresis=0.1)
    near.look()
    assert not near.look(Budget(memory_bytes=22_000), after=6.0)  # it would fit, with too little to spare


def test_a_slower_device_has_less_time_for_the_same_frames():
    bench = Bench(Budget(), rates=(40, 40))
    bench.look()
    assert bench.selections == [LARGE, LARGE]  # 80 % of the cores' time
    assert not bench.look(Budget(slowdown=2.0))  # it may get worse yet
    assert bench.look()
    used = sum(2.0 * 40 * n.latency.predict(n.selection) for n in bench.networks)
    assert used <= 1.0
    assert bench.selections != [SMALL, SMALL]


def test_a_time_budget_bounds_every_network():
    bench = Bench(Budget())
    bench.look()
    bench.look(Budget(seconds=0.006))
    assert bench.selections == [MIDDLE, MIDDLE]
    for _ in range(2):
        bench.look(Budget(seconds=0.006, slowdown=1.5))
    assert bench.selections == [SMALL, SMALL]


def test_time_needs_a_reserve_too():
    bench = Bench(Budget(seconds=0.006), dwell=5.0, hysteresis=0.1)
    bench.look()
    assert not bench.look(Budget(seconds=0.0105), after=6.0)
    assert not bench.look(Budget(seconds=0.0111))  # for how long?
    assert not bench.look(Budget(seconds=0.0105), after=4.0)
    assert not bench.look(Budget(seconds=0.0111), after=2.0)
    assert bench.look(after=6.0)
    assert bench.selections == [LARGE, LARGE]


def run_slowly(bench, slow, looks, usual=0.01):
    """Sixty-four inferences of the first network, so many of which take twice as long, between any two looks."""
    for i in range(looks):
        bench.networks[0].recent = [usual + 1e-6 * i] * (64 - slow) + [2 * usual + 1e-6 * i] * slow
        bench.look()


@pytest.mark.parametrize(("slow", "selections"), [(64, [MIDDLE, LARGE]), (6, [MIDDLE, LARGE]), (2, [LARGE, LARGE])])
def test_networks_often_slower_than_predicted_are_given_less_to_do(slow, selections):
    bench = Bench(Budget(seconds=0.012), interval=0.1)
    bench.look()
    run_slowly(bench, slow, looks=21)
    assert bench.selections == selections
    assert bench.events[2:] == ([] if slow == 2 else [(0, "drift")])


def test_inferences_are_taken_to_take_longer_until_they_are_known_not_to():
    bench = Bench(Budget(seconds=0.012), interval=0.5, dwell=1.0, caution=1.35)
    bench.look()
    assert bench.selections == [MIDDLE, MIDDLE]  # 10 ms are not safely within 12
    for i in range(12):
        for network in bench.networks:
            network.recent = [network.latency.predict(network.selection) + 1e-6 * i] * 64
        bench.look()
    assert bench.selections == [LARGE, LARGE]
    assert [reason for _, reason in bench.events] == ["start"] * 2 + ["looser"] * 2


def test_caution_is_no_reason_to_find_that_nothing_fits():
    bench = Bench(Budget(seconds=0.0025), caution=1.35)
    bench.look()
    assert bench.selections == [SMALL, SMALL]
    assert [reason for _, reason in bench.events] == ["start"] * 2


@pytest.mark.parametrize("caution", [0.9, float("nan"), float("inf")])
def test_a_caution_that_cannot_be_is_refused(caution):
    with pytest.raises(UsageError, match="caution"):
        Bench(caution=caution)


def test_who_is_slow_for_a_moment_goes_on():
    bench = Bench(Budget(seconds=0.012), interval=0.1)
    bench.look()
    for _ in range(5):
        run_slowly(bench, slow=64, looks=15)
        run_slowly(bench, slow=0, looks=1)
    assert bench.selections == [LARGE, LARGE]


def test_inferences_from_before_the_device_was_slower_are_no_evidence():
    bench = Bench(Budget(seconds=0.012))
    bench.look()
    bench.networks[0].recent = [0.01] * 64
    bench.look()
    bench.look(Budget(seconds=0.012, slowdown=1.15))
    assert bench.networks[0].recent == []


def test_what_cannot_be_met_is_said_once_and_the_nearest_runs():
    bench = Bench(Budget())
    bench.look()
    for _ in range(5):
        bench.look(Budget(memory_bytes=1_000))
    assert bench.selections == [SMALL, SMALL]
    assert bench.events[2:] == [(0, "infeasible"), (1, "infeasible")]


def test_a_failure_leaves_all_as_they_were_and_is_tried_again():
    bench = Bench(Budget())
    bench.look()
    before = bench.selections
    bench.networks[1].fails = 1
    assert not bench.look(Budget(memory_bytes=11_000))
    assert bench.selections == before
    assert bench.events[2:] == [(None, "failed")]
    assert bench.look(after=2.0)
    assert bench.selections == [MIDDLE, MIDDLE]


def together(bench):
    return sum(needed_together(n.manifest, n.loaded) for n in bench.networks)


def test_cached_compositions_are_within_the_budget():
    bench = Bench(Budget(memory_bytes=40_000), dwell=1.0)
    bench.look()
    assert bench.look(Budget(memory_bytes=40_000, seconds=0.003))
    assert [n.loaded for n in bench.networks] == [[LARGE, SMALL]] * 2
    assert together(bench) <= 40_000
    bench.look(Budget(memory_bytes=20_000, seconds=0.003))
    assert [n.loaded for n in bench.networks] == [[SMALL]] * 2


def test_what_is_kept_is_gone_back_to_when_memory_is_short():
    bench = Bench(Budget(seconds=0.003))
    bench.look()
    assert bench.look(Budget(memory_bytes=40_000), after=60.0)
    assert [n.loaded for n in bench.networks] == [[SMALL, LARGE]] * 2
    small = [n.switcher._kept[next(iter(n.switcher._kept))] for n in bench.networks]
    assert bench.look(Budget(memory_bytes=6_000))
    assert [n.running for n in bench.networks] == small  # made when there was time
    assert together(bench) <= 6_000


def test_a_device_that_becomes_faster_is_waited_for():
    bench = Bench(Budget(slowdown=3.0), rates=(40, 40), dwell=2.0)
    bench.look()
    slow = bench.selections
    for slowdown in (2.5, 2.0, 1.5, 1.0, 1.0, 1.0):
        bench.look(Budget(slowdown=slowdown))
        assert bench.selections == slow
    for _ in range(4):
        bench.look()
    assert bench.selections == [LARGE, LARGE]
    assert [reason for _, reason in bench.events] == ["start"] * 2 + ["looser"] * 2  # in one step


def test_small_gains_are_not_worth_a_switch():
    patient = Bench(Budget(memory_bytes=16_000), weights=(1, 5), dwell=1.0, worth=0.5)
    patient.look()
    assert not patient.look(Budget(memory_bytes=40_000), after=60.0)
    assert patient.selections == [MIDDLE, LARGE]


def test_it_looks_in_a_thread_and_lets_go_at_the_end():
    bench = Bench(Budget(memory_bytes=11_000), interval=0.01)
    with bench.controller:
        assert bench.given.running
        assert bench.selections == [MIDDLE, MIDDLE]
        with pytest.raises(UsageError, match="runs already"):
            bench.controller.start()
        reads = bench.given.reads
        while bench.given.reads < reads + 3:
            pass
    assert not bench.given.running
    assert [n.keep_within for n in bench.networks] == [1e9, 1e9]


def test_a_source_that_fails_is_reported_once():
    bench = Bench(Budget(memory_bytes=11_000))
    bench.look()
    for _ in range(3):
        bench.look(ValueError("gone"))
    assert bench.selections == [MIDDLE, MIDDLE]
    assert bench.events[2:] == [(None, "source")]


def test_free_memory_counts_what_the_networks_use(monkeypatch):
    bench = Bench()
    monkeypatch.setattr("legodnn.runtime.controller.sources.free_memory.free_memory", lambda root: 100_000)
    source = SharedMemory(bench.networks, share=0.5)
    assert source.read() == Budget(memory_bytes=50_000)  # the teachers have not run
    for network in bench.networks:
        network.select(MIDDLE)
    used = sum(n.manifest.segment("block0").variant("v1").weight_bytes for n in bench.networks)
    trunk = sum(s.original.weight_bytes for n in bench.networks for s in n.manifest.segments if not s.is_block)
    assert source.read() == Budget(memory_bytes=0.5 * (100_000 + used + trunk))
