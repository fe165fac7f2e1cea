"""What runs is changed beside what runs; what ran before is kept within bounds; failures change nothing."""

import os
import shutil
import sys
import threading
import weakref
from concurrent.futures import wait

import pytest
import torch

from legodnn.runtime import Duty, JointOptimizer, LatencyTable, Network, ScalingOptimizer
from legodnn.runtime.device.memory_table import needed_together
from legodnn.runtime.engine import composer, relative_error
from legodnn.runtime.switching.background import NICENESS, TURN_SECONDS
from legodnn.shared.errors import CompositionError, OutOfMemory, SelectionError
from tests.bundles import BLOCKS, WIDTHS, selections, write


def test_switching_back_takes_the_cached_composition(network):
    first = network.select(selections()[3])
    network.select(selections()[9])
    assert network.select(selections()[3]) is first


def test_no_more_is_kept_than_fits(network):
    wanted = selections()[:8]
    network.keep_within = needed_together(network.manifest, wanted[5:])
    made = [network.select(s) for s in wanted]
    assert [network.select(s) is c for s, c in zip(wanted[5:], made[5:], strict=True)] == [True] * 3
    assert network.select(wanted[0]) is not made[0]


def test_what_is_kept_can_be_released_and_what_runs_stays(network, maker):
    first, second = network.select(selections()[3]), network.select(selections()[9])
    network.release_kept()
    assert network.select(selections()[9]) is second
    assert network.select(selections()[3]) is not first


def test_weights_that_compositions_share_count_once(network):
    one, other = selections()[0], {**selections()[0], "block1": "sparsity=0.75"}
    manifest = network.manifest
    more = manifest.segment("block1").variant("sparsity=0.75").weight_bytes
    assert needed_together(manifest, [one, other]) == needed_together(manifest, [one]) + more


def test_a_switch_in_the_background_serves_when_its_future_is_done(network, maker):
    x = torch.randn(1, 3, 16, 16)
    network(x)
    made = network.select_later(selections()[7]).result(timeout=60)
    assert network.selection == dict(made.selection) == selections()[7]
    assert relative_error(network(x), maker.answer(selections()[7], x)) < 1e-4


def test_of_many_requests_the_last_one_wins_and_none_is_worked_off_in_vain(network, monkeypatch):
    network.select(selections()[0])
    begun, go_on, composed = threading.Event(), threading.Event(), []
    compose = network._switcher._compose

    def slowly(selection):
        composed.append(selection)
        begun.set()
        assert go_on.wait(60)
        return compose(selection)

    monkeypatch.setattr(network._switcher, "_compose", slowly)
    first = network.select_later(selections()[1])
    assert begun.wait(60)
    dropped = [network.select_later(s) for s in selections()[2:12]]
    last = network.select_later(selections()[12])
    go_on.set()
    last.result(timeout=60)
    assert composed == [selections()[1], selections()[12]]
    assert all(future.cancelled() for future in dropped)
    assert first.done()
    assert network.selection == selections()[12]


def test_a_failure_in_the_background_is_raised_by_the_future_and_changes_nothing(network):
    network.select(selections()[4])
    future = network.select_later({**selections()[4], "block1": "x"})
    with pytest.raises(SelectionError, match="no variant 'x'"):
        future.result(timeout=60)
    assert network.selection == selections()[4]


def test_no_thread_is_left_when_a_network_is_closed(path):
    before = threading.active_count()
    with Network.open(path) as network:
        network.select_later(selections()[5]).result(timeout=60)
    assert threading.active_count() == before


def test_recent_durations_are_those_of_what_runs(network):
    x = torch.randn(1, 3, 16, 16)
    network.select(selections()[2])
    for _ in range(100):
        network(x)
    assert len(network.recent_seconds()) == 64
    assert all(seconds > 0 for seconds in network.recent_seconds())
    network.select(selections()[3])
    assert network.recent_seconds() == []
    network(x)
    network.select(selections()[2])
    assert network.recent_seconds() == []


# ---- what is kept ---------------------------------------------------------------------------------------------------
def test_what_is_loaded_is_said_and_a_lower_limit_lets_go_at_once(network):
    assert network.loaded == []
    network.keep_within = float("inf")
    wanted = selections()[:5]
    made = [weakref.ref(network.select(s)) for s in wanted]
    assert network.loaded == wanted
    network.keep_within = needed_together(network.manifest, wanted[3:])
    assert network.loaded == wanted[3:]
    assert [composition() is None for composition in made] == [True] * 3 + [False] * 2
    network.keep_within = 0
    assert network.loaded == wanted[4:]


def test_compositions_are_evicted_before_and_not_only_after(network, monkeypatch):
    large, middle, small = selections()[:3]
    network.keep_within = needed_together(network.manifest, [large, middle])
    network.select(middle)
    network.select(small)
    before, compose = [], network._switcher._compose
    monkeypatch.setattr(network._switcher, "_compose", lambda s: (before.append(network.loaded), compose(s))[1])
    assert network.loaded == [middle, small]
    network.select(large)
    assert before == [[small]]
    assert network.loaded == [small, large]


def test_what_optimisers_allow_holds_beside_what_the_user_allows(network):
    wanted = selections()[:3]
    network.keep_within = needed_together(network.manifest, wanted)
    for selection in wanted:
        network.select(selection)
    network.bound_kept(needed_together(network.manifest, wanted[1:]))
    assert network.loaded == wanted[1:]
    network.bound_kept(None)
    network.select(wanted[0])
    assert network.loaded == [*wanted[1:], wanted[0]]


def test_setting_a_limit_does_not_wait_for_a_switch(network, monkeypatch):
    kept, runs, coming = selections()[:3]
    network.keep_within = float("inf")
    network.select(kept)
    network.select(runs)
    begun, go_on = threading.Event(), threading.Event()
    compose = network._switcher._compose
    monkeypatch.setattr(network._switcher, "_compose", lambda s: (begun.set(), go_on.wait(60), compose(s))[2])
    future = network.select_later(coming)
    assert begun.wait(60)
    network.keep_within = 0
    assert network.loaded == [runs]
    go_on.set()
    assert dict(future.result(timeout=60).selection) == coming
    assert network.loaded == [coming]


# ---- the interpreter ------------------------------------------------------------------------------------------------
@pytest.fixture
def four_milliseconds():
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.004)
    yield sys.getswitchinterval()
    sys.setswitchinterval(before)


def test_threads_get_the_interpreter_soon_while_a_composition_is_made(network, monkeypatch, four_milliseconds):
    seen, compose = [], network._switcher._compose
    monkeypatch.setattr(network._switcher, "_compose", lambda s: (seen.append(sys.getswitchinterval()), compose(s))[1])
    network.select(selections()[2])
    monkeypatch.setattr(network._workshop.composer, "_compose", lambda *given: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        network.select(selections()[3])
    assert seen == pytest.approx([TURN_SECONDS] * 2, rel=0.1)
    assert sys.getswitchinterval() == four_milliseconds


@pytest.mark.skipif(sys.platform != "linux", reason="only there has a thread a priority of its own")
def test_only_a_thread_in_the_background_yields_to_inference(network, monkeypatch):
    def niceness():
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    mine, seen, compose = niceness(), [], network._switcher._compose
    monkeypatch.setattr(network._switcher, "_compose", lambda s: (seen.append(niceness()), compose(s))[1])
    network.select(selections()[2])
    network.select_later(selections()[3]).result(timeout=60)
    assert seen == [mine, max(mine, NICENESS)]
    assert niceness() == mine


# ---- failures and the end -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("allocate", [lambda *_: torch.empty(10**15), lambda *_: bytearray(10**18)], ids=["torch", "x"])
def test_without_memory_the_current_one_stays_and_cached_ones_are_evicted(network, maker, monkeypatch, allocate):
    x, kept, runs, coming = torch.randn(1, 3, 16, 16), *selections()[3:6]
    network.keep_within = float("inf")
    network.select(kept)
    network.select(runs)
    monkeypatch.setattr(composer, "joined", allocate)
    with pytest.raises(OutOfMemory, match="no memory is left") as caught:
        network.select(coming)
    assert isinstance(caught.value, (CompositionError, MemoryError))
    assert network.loaded == [runs]
    assert relative_error(network(x), maker.answer(runs, x)) < 1e-4
    monkeypatch.undo()
    assert dict(network.select(coming).selection) == coming


def test_closing_waits_for_the_switch_that_is_being_made_and_drops_others(path, maker, monkeypatch):
    x, network = torch.randn(1, 3, 16, 16), Network.open(path)
    network.select(selections()[0])
    begun, go_on = threading.Event(), threading.Event()
    compose = network._switcher._compose
    monkeypatch.setattr(network._switcher, "_compose", lambda s: (begun.set(), go_on.wait(60), compose(s))[2])
    first, second = network.select_later(selections()[1]), None
    assert begun.wait(60)
    second = network.select_later(selections()[2])
    closing = threading.Thread(target=network.close)
    closing.start()
    wait([second], timeout=60)
    assert second.cancelled()
    assert not first.done()
    go_on.set()
    closing.join(60)
    assert dict(first.result(timeout=0).selection) == network.selection == selections()[1]
    assert relative_error(network(x), maker.answer(selections()[1], x)) < 1e-4
    for switch in (network.select, network.select_later):
        with pytest.raises(CompositionError, match="was closed"):
            switch(selections()[2])


@pytest.mark.parametrize("replace", [lambda p: p.unlink(), lambda p: os.replace(p.with_suffix(".other"), p)])
def test_a_bundle_deleted_or_replaced_goes_on_switching(path, maker, tmp_path, replace):
    mine, x = tmp_path / "mine.lgb", torch.randn(1, 3, 16, 16)
    shutil.copy(path, mine)
    write(mine.with_suffix(".other"), seed=1)
    with Network.open(mine) as network:
        network(x)
        replace(mine)
        for selection in selections()[::6]:
            network.select(selection)
            assert relative_error(network(x), maker.answer(selection, x)) < 1e-4


def test_only_segments_that_change_are_read(network, monkeypatch):
    old, new = selections()[0], {**selections()[0], "block1": "sparsity=0.75"}
    network.select(old)
    read, blob = set(), network.reader.blob
    monkeypatch.setattr(network.reader, "blob", lambda number: (read.add(number), blob(number))[1])
    network.select(new)
    archive = network.manifest.segment("block1").variant("sparsity=0.75").archive
    assert read == {archive.program, archive.tensors}
    read.clear()
    network.select(old)
    assert read == set()


# ---- the optimiser --------------------------------------------------------------------------------------------------
def test_an_update_without_waiting_returns_the_choice_and_serves_it_later(network, monkeypatch):
    network.select(network.manifest.original_selection)
    smallest = {block.name: "sparsity=0.75" for block in network.blocks}
    begun, go_on = threading.Event(), threading.Event()
    compose = network._switcher._compose
    monkeypatch.setattr(network._switcher, "_compose", lambda s: (begun.set(), go_on.wait(60), compose(s))[2])
    optimizer = ScalingOptimizer(network)
    choice = optimizer.update_model(memory_bytes=optimizer.minimum_bytes(), wait=False)
    assert begun.wait(60)
    assert choice.selection == smallest
    assert network.selection == network.manifest.original_selection
    go_on.set()
    assert dict(network.switching.result(timeout=60).selection) == smallest
    assert network.selection == smallest


def test_what_fails_in_the_background_is_logged_and_in_the_future(network, monkeypatch, caplog):
    network.select(network.manifest.original_selection)

    def fails(selection):
        raise CompositionError("not today")

    monkeypatch.setattr(network._switcher, "_compose", fails)
    optimizer = ScalingOptimizer(network)
    optimizer.update_model(memory_bytes=optimizer.minimum_bytes(), wait=False)
    with pytest.raises(CompositionError, match="not today"):
        network.switching.result(timeout=60)
    assert "a switch in the background failed: CompositionError: not today" in caplog.text
    assert network.selection == network.manifest.original_selection


def test_a_memory_budget_is_for_all_that_is_in_memory(network):
    optimizer = ScalingOptimizer(network)
    network.keep_within = float("inf")
    for selection in selections()[:6]:
        network.select(selection)
    budget = 1.2 * needed_together(network.manifest, [network.manifest.original_selection])
    for share in (1, 0.8, 0.6, 0.8, 1):
        optimizer.update_model(memory_bytes=share * budget)
        assert needed_together(network.manifest, network.loaded) <= share * budget
    assert len(network.loaded) > 1


def test_several_networks_switch_in_the_background_within_shares_of_the_memory(path):
    rows = {f"block{i}": {name: 1e-3 * width for name, width in WIDTHS.items()} for i in range(BLOCKS)}
    with Network.open(path) as one, Network.open(path) as other:
        for network in (one, other):
            network.latency = LatencyTable(0.0, rows, 0.0, 0.0, 0.0, 0.0, 1)
            network.keep_within = float("inf")
            for selection in selections()[:4]:
                network.select(selection)
        optimizer = JointOptimizer([Duty(one, 0.1), Duty(other, 0.1)])
        budget = 1.3 * optimizer.minimum_bytes()
        choice = optimizer.update_models(memory_bytes=budget, wait=False)
        assert optimizer.switching.result(timeout=60) == choice
        assert [one.selection, other.selection] == [c.selection for c in choice.choices]
        together = [needed_together(n.manifest, n.loaded) for n in (one, other)]
        assert sum(together) <= budget
