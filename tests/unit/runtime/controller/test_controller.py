"""The controller's rules, one look at a time: what is obeyed at once, what waits, what is corrected, what fails."""

import itertools
import math
import threading
import time

import pytest

from legodnn.runtime import Budget, Callback, Controller, ScalingOptimizer
from legodnn.shared.errors import SolverError
from tests.unit.runtime.controlled import LARGE, MIDDLE, SMALL, Bench


# ---- tighter and looser ---------------------------------------------------------------------------------------------
def test_the_first_look_chooses_and_prepares_what_fits():
    bench = Bench(budget=Budget(0.006))
    event = bench.look()
    assert (event.reason, event.old, event.new) == ("start", LARGE, MIDDLE)
    assert event.predicted.seconds == 0.005
    assert event.predicted.memory_bytes == 5_500
    assert event.predicted.accuracy == pytest.approx(0.89)
    assert bench.selection == MIDDLE
    assert Bench().look().new == LARGE


def test_what_stays_the_same_is_decided_once():
    bench = Bench(budget=Budget(0.006, 6000))
    for _ in range(200):
        bench.look()
    assert bench.reasons == ["start"]
    assert bench.optimizer.solves <= 2


@pytest.mark.parametrize("budget", [Budget(0.006), Budget(None, 5_500), Budget(0.011, slowdown=2)])
def test_a_tighter_budget_is_obeyed_at_the_next_look(budget):
    bench = Bench(dwell=1000)
    bench.look()
    event = bench.look(budget)
    assert (event.reason, event.old, event.new) == ("tighter", LARGE, MIDDLE)
    assert bench.look(Budget(0.002, 3_000)).new == SMALL


def test_a_looser_budget_is_used_after_the_dwell_time():
    bench = Bench(budget=Budget(0.003), dwell=5)
    bench.look()
    assert [bench.look(Budget(0.1), after=1) for _ in range(4)] == [None] * 4
    event = bench.look(after=1)
    assert (event.reason, event.new) == ("looser", LARGE)


def test_a_looser_budget_is_used_when_it_has_room_to_spare():
    bench = Bench(budget=Budget(0.003), dwell=0, hysteresis=0.1)
    bench.look()
    assert bench.look(Budget(0.00549)) is None
    assert bench.look(Budget(0.00551)).new == MIDDLE
    assert bench.look(Budget(0.1, 11_540)) is None
    assert bench.look(Budget(0.1, 11_560)).new == LARGE


def test_a_gain_that_is_hardly_one_is_not_worth_a_switch():
    bench = Bench(rows=[[(0.0, 0.010, 10_000, 100), (0.001, 0.005, 5_000, 100)]], budget=Budget(0.006), dwell=0)
    bench.look()
    assert bench.look(Budget(1.0)) is None


def test_a_budget_that_goes_to_and_fro_around_a_threshold_changes_nothing():
    bench = Bench(budget=Budget(0.0101), dwell=1, hysteresis=0.1)
    for i in range(400):
        bench.look(Budget(0.010 * (1 + 0.09 * math.sin(i))))
    assert bench.reasons == ["start", "tighter"]
    without = Bench(budget=Budget(0.0101), dwell=1, hysteresis=0)
    for i in range(400):
        without.look(Budget(0.010 * (1 + 0.09 * math.sin(i))))
    assert len(without.events) > 20


def test_a_wild_budget_is_followed_once_in_a_dwell_time_at_most():
    bench = Bench(budget=Budget(0.1), dwell=10)
    for i in range(400):
        bench.look(Budget(0.1 if i % 2 else 0.003))
    dwells = 400 * 0.5 / 10
    assert dwells < len(bench.events) <= 2 * dwells + 1


def test_what_has_been_found_in_vain_is_not_looked_for_again():
    bench = Bench(budget=Budget(0.003), dwell=0)
    bench.look()
    bench.look(Budget(0.0054, 6000))
    before = bench.optimizer.solves
    for i in range(100):
        bench.look(Budget(0.0054 - 0.0005 * (i % 3), 6000 - i))
    assert bench.optimizer.solves == before


def test_another_selection_made_by_hand_is_brought_back_within_the_budget():
    bench = Bench(budget=Budget(0.006))
    bench.look()
    bench.network.select(LARGE)
    assert bench.look().new == MIDDLE


# ---- what cannot be met ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("closest", [False, True])
def test_what_cannot_be_met_takes_the_nearest_and_says_so_once(closest):
    bench = Bench(optimizer=lambda network: ScalingOptimizer(network, closest=closest))
    bench.look()
    event = bench.look(Budget(0.001))
    assert (event.reason, event.new) == ("infeasible", SMALL)
    assert event.predicted.seconds == 0.002
    for i in range(50):
        bench.look(Budget(0.001 - 1e-6 * i))
    assert bench.reasons == ["start", "infeasible"]
    bench.look(Budget(0.002))
    bench.look(Budget(0.001))
    assert bench.reasons == ["start", "infeasible", "infeasible"]


def test_what_cannot_be_met_is_not_tried_again_for_the_same_budget():
    bench = Bench()
    bench.look()
    bench.look(Budget(0.001))
    before = bench.optimizer.solves
    for _ in range(50):
        bench.look()
    assert bench.optimizer.solves == before


def test_one_selection_that_does_not_fit_gives_way_to_another_once_in_a_dwell_time():
    rows = [[(0.0, 0.010, 10_000, 100), (0.2, 0.001, 8_000, 100), (0.3, 0.004, 2_000, 100)]]
    bench = Bench(rows, dwell=10)
    bench.look()
    for i in range(200):
        bench.look(Budget(0.0039, 2_400) if i % 2 else Budget(0.0009, 8_500))
    assert {event.new["block0"] for event in bench.events[1:]} == {"v1", "v2"}
    assert len(bench.events) <= 200 * 0.5 / 10 + 2


# ---- measured -------------------------------------------------------------------------------------------------------
def test_inferences_that_take_longer_for_long_correct_the_predictions():
    bench = Bench(budget=Budget(0.012), patience=3)
    bench.look()
    for _ in range(2):
        bench.run(0.015)
        assert bench.look() is None
    bench.run(0.015)
    event = bench.look()
    assert (event.reason, event.new) == ("drift", MIDDLE)
    assert event.scale == pytest.approx(1.5, rel=1e-3)
    assert event.measured == pytest.approx(0.015, rel=1e-3)
    assert event.predicted.seconds == pytest.approx(0.0075, rel=1e-3)


def test_a_few_slow_inferences_or_looks_correct_nothing():
    bench = Bench(budget=Budget(0.012), patience=3)
    bench.look()
    for seconds in (0.015, 0.015, 0.010, 0.015, 0.015, 0.010, 0.0119, 0.0119, 0.0119, 0.0119):
        bench.network.recent = []
        bench.run(seconds)
        assert bench.look() is None
    bench.network.recent = [0.01] * 20 + [0.1] * 19
    bench.look()
    bench.network.recent = [0.1] * 4
    bench.look()
    assert bench.reasons == ["start"]


def test_what_ran_before_says_nothing_about_what_runs_now():
    bench = Bench(budget=Budget(0.012), patience=3)
    bench.look()
    for _ in range(2):
        bench.run(0.0119 * 1.1)
        bench.look()
    assert bench.look(Budget(0.0065)).new == MIDDLE
    bench.run(0.0075)
    assert bench.look() is None


def test_the_same_inferences_seen_again_are_no_evidence():
    bench = Bench(budget=Budget(0.012), patience=3)
    bench.look()
    bench.network.recent = [0.015] * 10
    assert [bench.look() for _ in range(20)] == [None] * 20


def test_a_known_slowdown_is_not_corrected_twice():
    bench = Bench(budget=Budget(0.025, slowdown=2))
    bench.look()
    for _ in range(10):
        bench.run(0.020)
        bench.look()
    assert [(e.reason, e.scale) for e in bench.events] == [("start", 1)]


def test_a_device_that_recovers_gets_its_network_back():
    bench = Bench(budget=Budget(0.012), patience=2, dwell=1)
    bench.look()
    for factor, expected in ((2.0, MIDDLE), (1.0, LARGE)):
        for _ in range(6):
            bench.network.recent = []
            bench.run(bench.network.latency.predict(bench.selection) * factor)
            bench.look()
        assert bench.selection == expected


def test_a_correction_is_forgotten_where_nothing_runs():
    bench = Bench(budget=Budget(0.012), patience=1, forget=60, dwell=1)
    bench.look()
    bench.run(0.018)
    assert bench.look().new == MIDDLE
    assert bench.look(after=30) is None
    found = [bench.look(after=61) for _ in range(4)]
    assert [event.new for event in found if event] == [LARGE]
    assert bench.events[-1].scale == 1


# ---- failures -------------------------------------------------------------------------------------------------------
def test_a_failed_switch_keeps_what_runs_and_is_tried_again_ever_less_often():
    bench = Bench(budget=Budget(0.1))
    bench.look()
    bench.network.fails = 5
    bench.given.budget = Budget(0.006)
    times = []
    for _ in range(100):
        if bench.look(after=0.5):
            times.append(bench.now)
    assert bench.reasons == ["start", *["failed"] * 5, "tighter"]
    assert [b - a for a, b in itertools.pairwise(times)] == [0.5, 1, 2, 4, 8]
    failure = bench.events[1]
    assert failure.old == failure.new == LARGE
    assert "CompositionError: not today; tried again in 0.5 s" in failure.detail
    assert failure.predicted is None
    assert bench.selection == MIDDLE


def test_pauses_do_not_grow_beyond_a_minute():
    bench = Bench(budget=Budget(0.1))
    bench.look()
    bench.network.fails = 10**6
    bench.given.budget = Budget(0.006)
    times = [bench.now for _ in range(2000) if bench.look(after=1)]
    assert max(b - a for a, b in itertools.pairwise(times)) == 60


def test_a_solver_that_fails_is_an_event():
    class Fails(ScalingOptimizer):
        broken = False

        def choose(self, *limits, **more):
            if self.broken:
                raise SolverError("no solver")
            return super().choose(*limits, **more)

    bench = Bench(budget=Budget(0.1), optimizer=Fails)
    bench.look()
    bench.optimizer.broken = True
    assert bench.look(Budget(0.006)).reason == "failed"
    bench.optimizer.broken = False
    assert bench.look(after=1).new == MIDDLE


def test_what_becomes_urgent_does_not_wait_for_a_failed_improvement():
    bench = Bench(budget=Budget(0.006), dwell=0)
    bench.look()
    bench.network.fails = 3
    for _ in range(3):
        bench.look(Budget(0.1), after=10)
    assert bench.reasons == ["start", *["failed"] * 3]
    assert bench.look(Budget(0.003), after=0.1).new == SMALL


def test_time_without_latencies_is_an_event_not_an_end():
    bench = Bench(budget=Budget(0.006))
    table, bench.network.latency = bench.network.latency, None
    assert "LatencyEstimator" in bench.look().detail
    bench.network.latency = table
    assert bench.look(after=1).new == MIDDLE


def test_a_source_that_fails_is_reported_once_and_its_last_budget_holds():
    bench = Bench(budget=Budget(0.006))
    bench.look()
    for _ in range(10):
        bench.look(RuntimeError("lost"))
    bench.look(Budget(0.003))
    bench.look(RuntimeError("lost"))
    assert bench.reasons == ["start", "source", "tighter", "source"]
    assert "lost" in bench.events[1].detail
    assert bench.selection == SMALL


def test_a_hanging_callback_is_reported_once_and_decisions_go_on():
    release, bench = threading.Event(), Bench()

    def hangs():
        release.wait()
        return Budget(0.003)

    events = []
    controller = Controller(bench.optimizer, Callback(hangs, timeout=0.001), on_event=events.append)
    for _ in range(100):
        controller.step()
    assert [e.reason for e in events] == ["source", "start"]
    [worker] = [t for t in threading.enumerate() if t.name == "legodnn-budget"]
    release.set()
    worker.join()
    assert controller.step().new == SMALL


def test_jumps_of_the_wall_clock_change_nothing(monkeypatch):
    bench, wall = Bench(budget=Budget(0.003), dwell=5), [0.0]
    monkeypatch.setattr(time, "time", lambda: wall[0])
    bench.look()
    for jump in (1e9, -1e9, 1e9, 0.0):
        wall[0] += jump
        assert bench.look(Budget(0.1)) is None
    assert bench.look(after=5).new == LARGE


# ---- what is kept ---------------------------------------------------------------------------------------------------
def test_cached_compositions_stay_within_the_budget():
    bench = Bench(budget=Budget(0.1, 30_000), dwell=0)
    bench.look()
    assert bench.network.keep_within == 30_000
    bench.look(Budget(0.006, 30_000))
    assert bench.network.loaded == [LARGE, MIDDLE]
    bench.look(Budget(0.006, 14_000))
    assert (bench.network.keep_within, bench.network.loaded) == (14_000, [MIDDLE])
    bench.look(Budget(0.006))
    assert bench.network.keep_within == 1e9


def test_memory_of_evicted_compositions_is_counted_before_deciding():
    bench = Bench(budget=Budget(0.1, 30_000), dwell=0)
    bench.look()
    bench.look(Budget(0.006, 30_000))
    read = bench.given.read
    bench.given.read = lambda: Budget(0.006, 6_000) if bench.network.loaded == [MIDDLE] else read()
    assert bench.look(Budget(0.006, 3_000)) is None


def test_a_thousand_changes_cost_one_look_and_the_latest_wins():
    bench = Bench(budget=Budget(0.1), interval=0.5)
    bench.look()
    before, reads = bench.optimizer.solves, bench.given.reads
    for i in range(1000):
        bench.given.budget = Budget(0.003 + 1e-6 * (i % 3000))
    event = bench.look()
    assert bench.given.reads == reads + 1
    assert bench.optimizer.solves <= before + 1
    assert event.budget == bench.given.budget
