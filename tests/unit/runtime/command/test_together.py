"""Several feeds in threads: all ends, however one of them ends; names and values of several networks."""

import os
import signal
import threading

import pytest

from legodnn.runtime.command.named import Values, bundle_names
from legodnn.runtime.command.stopping import Stopping
from legodnn.runtime.command.together import run_together
from legodnn.runtime.frames.pacing import Clock, Due, Latest
from legodnn.runtime.frames.source import Frame, FrameSource
from legodnn.shared.errors import InputError, UsageError


class Waiting:
    """A feed that runs until it is stopped, or fails at once."""

    def __init__(self, name, error=None, at_once=False):
        self.name, self.error, self.at_once = name, error, at_once
        self.started, self.stopped = threading.Event(), threading.Event()
        self.limit, self.finished = None, False

    def run(self, limit=None):
        self.limit = limit
        self.started.set()
        if self.error is not None:
            raise self.error
        if not self.at_once:
            assert self.stopped.wait(20)
        self.finished = True

    def stop(self):
        self.stopped.set()


def test_all_run_until_all_have_ended():
    feeds = [Waiting("a", at_once=True), Waiting("b", at_once=True)]
    with Stopping() as stopping:
        assert run_together(feeds, stopping, 7) is None
    assert [(feed.limit, feed.finished) for feed in feeds] == [(7, True), (7, True)]


@pytest.mark.parametrize("error", [InputError("cut"), MemoryError(), BrokenPipeError()])
def test_one_that_fails_stops_the_others_which_finish(error):
    feeds = [Waiting("a"), Waiting("b", error), Waiting("c")]
    with Stopping() as stopping:
        assert run_together(feeds, stopping) is error
    assert [feed.finished for feed in feeds] == [True, False, True]


def test_a_signal_stops_all():
    feeds = [Waiting("a"), Waiting("b")]

    def send():
        for feed in feeds:
            assert feed.started.wait(20)
        os.kill(os.getpid(), signal.SIGTERM)

    sender = threading.Thread(target=send)
    with Stopping() as stopping:
        sender.start()
        assert run_together(feeds, stopping) is None
        assert stopping.asked == signal.SIGTERM
    sender.join()
    assert [feed.finished for feed in feeds] == [True, True]


# ---- pace -----------------------------------------------------------------------------------------------------------
class Never(FrameSource):
    """One frame, and then none for as long as nobody wakes it."""

    def __init__(self, live):
        self.live = live

    def frames(self, wake=None):
        yield Frame(0, list)
        if wake is not None:
            assert os.read(wake, 1) == b""
        else:
            yield Frame(1, list)


@pytest.mark.parametrize("pace", [Due(Never(False), 0.001), Latest(Never(True), 1000), Latest(Never(True), 0.001)])
def test_a_pace_is_stopped_from_another_thread_whatever_it_waits_for(pace):
    taken = []
    first = threading.Event()

    def take():
        with pace:
            for frame in pace:
                taken.append(frame.number)
                first.set()

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    assert first.wait(20)
    pace.stop()
    thread.join(20)
    assert not thread.is_alive()
    assert taken == [0]


def test_a_clock_that_has_been_woken_waits_no_more():
    clock = Clock()
    clock.wake()
    clock.sleep_until(clock.now() + 1e6)


# ---- names ----------------------------------------------------------------------------------------------------------
def test_names_are_those_of_the_files_or_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x=y.lgb").write_bytes(b"")
    assert bundle_names(["dir/a.lgb", "b=dir/a.lgb", "x=y.lgb", "./c=d.lgb", "e=f=g.lgb"]) == [
        ("a", "dir/a.lgb"), ("b", "dir/a.lgb"), ("x=y", "x=y.lgb"), ("c=d", "./c=d.lgb"), ("e", "f=g.lgb"),
    ]  # fmt: skip
    with pytest.raises(UsageError, match="3 networks are called a"):
        bundle_names(["a.lgb", "b.lgb", "dir/a.lgb", "a=b.lgb"])


def test_values_are_for_one_or_for_all():
    values = Values("--rate", ["5", "b=7", "c=d=9"], ["a", "b", "c=d", "c"])
    assert [values.of(name) for name in ("a", "b", "c=d", "c")] == ["5", "7", "9", "5"]
    assert Values("--input", ["./q=1"], ["a", "b"]).of("a") == "./q=1"
    assert Values("--input", None, ["a", "b"]).of("a") is None


def test_with_one_network_a_value_is_what_it_is():
    assert Values("--input", ["first", "a=clip.raw"], ["a"]).of("a") == "a=clip.raw"
