"""A controller in charge of a real bundle, while frames flow."""

import itertools
import threading

import pytest
import torch

from legodnn.runtime import Budget, Controller, LatencyTable, ScalingOptimizer, Schedule, Source
from legodnn.runtime.controller import Entry
from legodnn.runtime.controller.switch_plan import SwitchPlanner
from legodnn.runtime.device.memory_table import needed_bytes
from legodnn.runtime.engine import relative_error
from tests.bundles import WIDTHS


class Now(Source):
    """Whatever the test says there is."""

    budget = Budget()

    def read(self):
        return self.budget


@pytest.fixture
def smallest(network):
    return {block.name: "sparsity=0.75" for block in network.blocks}


def test_frames_flow_and_are_right_while_budgets_change(network, maker, smallest):
    x = torch.randn(1, 3, 16, 16)
    needed = needed_bytes(network.manifest, smallest)
    names = [[(b.name, v.name) for v in b.variants] for b in network.blocks]
    expected = [maker.answer(dict(pairs), x) for pairs in itertools.product(*names)]
    now, events, wrong, stop = Now(), [], [], threading.Event()
    controller = Controller(ScalingOptimizer(network), now, dwell=0, on_event=events.append)

    def run():
        while not stop.is_set():
            answer = network(x)
            if min(relative_error(answer, e) for e in expected) > 1e-4:
                wrong.append(answer)

    controller.step()
    thread = threading.Thread(target=run)
    thread.start()
    for size in (needed, None, 1.2 * needed, needed):
        now.budget = Budget(memory_bytes=size)
        controller.step()
        assert size is None or needed_bytes(network.manifest, network.selection) <= size
        assert relative_error(network(x), maker.answer(network.selection, x)) < 1e-4
    stop.set()
    thread.join()
    assert wrong == []
    assert network.selection == smallest
    assert [event.reason for event in events] == ["start", "tighter", "looser", "tighter", "tighter"]


def test_strict_steps_through_smaller_ones(network, maker, smallest):
    rows = {b.name: {name: 1e-3 * width for name, width in WIDTHS.items()} for b in network.blocks}
    network.latency = LatencyTable(0.0, rows, 0.0, 0.0, 0.0, 0.0, 1)
    x, now, served = torch.randn(1, 3, 16, 16), Now(), []
    controller = Controller(ScalingOptimizer(network), now, dwell=0, strict=True)
    controller.step()
    assert network.keep_within == 0
    direct = SwitchPlanner(network.manifest).bytes(network.selection, smallest)
    now.budget = Budget(seconds=network.latency.predict(smallest), memory_bytes=direct - 1)
    select = network.select
    network.select = lambda selection: (served.append(dict(selection)), select(selection))[1]
    event = controller.step()
    steps = served[1:]  # the first call only asks for what runs
    assert event.detail == f"in {len(steps)} switches, to stay within the memory budget"
    assert len(steps) > 1
    assert steps[-1] == network.selection == smallest
    assert relative_error(network(x), maker.answer(smallest, x)) < 1e-4


def test_measured_inferences_correct_predictions(network, smallest):
    """A table that says a thousandth of the truth is found out by running."""
    rows = {b.name: {name: 1e-9 * width for name, width in WIDTHS.items()} for b in network.blocks}
    network.latency = LatencyTable(0.0, rows, 0.0, 0.0, 0.0, 0.0, 1)
    now, x = Now(), torch.randn(1, 3, 16, 16)
    now.budget = Budget(seconds=1e-7)
    controller = Controller(ScalingOptimizer(network), now, patience=1)
    assert controller.step().new == network.manifest.original_selection
    for _ in range(8):
        network(x)
    event = controller.step()
    assert event.scale > 100
    assert (event.reason, event.new) == ("infeasible", smallest)


def test_a_schedule_is_followed_in_a_thread(network, smallest):
    tight = Budget(memory_bytes=needed_bytes(network.manifest, smallest))
    schedule = Schedule([Entry(0, Budget()), Entry(0.05, tight)])
    arrived = threading.Event()
    usual = network.keep_within

    def seen(event):
        if event.new == smallest:
            arrived.set()

    with Controller(ScalingOptimizer(network), schedule, interval=0.01, on_event=seen):
        assert network.selection == network.manifest.original_selection
        assert arrived.wait(60)
    assert network.selection == smallest
    assert network.keep_within == usual
