"""What runs is changed beside what runs; what ran before is kept within bounds; failures change nothing."""

import itertools
import threading

import pytest
import torch

from legodnn.runtime import Network
from legodnn.runtime.composition import relative_error
from legodnn.runtime.memory import needed_together
from legodnn.shared.errors import SelectionError
from tests.bundles import BLOCKS, WIDTHS


def selections():
    return [{f"block{i}": name for i, name in enumerate(names)} for names in itertools.product(WIDTHS, repeat=BLOCKS)]


def test_the_way_back_is_the_composition_that_was_there(network):
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
        assert threading.active_count() == before + 1
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
