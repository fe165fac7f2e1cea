"""Which frames are taken when: with a clock that only the test moves, and with real pipes and threads."""

import os
import threading
import tracemalloc

import pytest
import torch

from legodnn.runtime.frames import coding
from legodnn.runtime.frames.pacing import Clock, Due, Latest, Pace, Slot, pace
from legodnn.runtime.frames.source import Frame, FrameSource
from legodnn.runtime.frames.stream import Stream
from legodnn.shared.bundle.manifest import InputSpec
from legodnn.shared.errors import InputError


class Hands(Clock):
    """A clock that stands still unless moved; waiting moves it."""

    def __init__(self):
        self.time = 100.0
        self.waits = []

    def now(self):
        return self.time

    def sleep_until(self, moment):
        self.waits.append(round(moment - 100.0, 9))
        self.time = max(self.time, moment)


class Numbered(FrameSource):
    """So many frames, at once."""

    def __init__(self, count, live=False):
        self.count, self.live = count, live
        self.asked = 0

    def frames(self, wake=None):
        for number in range(self.count):
            self.asked += 1
            yield Frame(number, lambda: [torch.zeros(1)])


def taken(pace, clock, busy):
    """The numbers of the frames taken by a network that needs so long for each, and when it started with them."""
    numbers, moments = [], []
    with pace:
        for frame, seconds in zip(pace, busy, strict=False):
            numbers.append(frame.number)
            moments.append(round(clock.now() - 100.0, 9))
            clock.time += seconds
    return numbers, moments


# ---- every frame --------------------------------------------------------------------------------------------------
def test_without_a_rate_every_frame_is_taken():
    source = Numbered(5)
    with pace(source, None) as every:
        assert type(every) is Pace
        assert [f.number for f in every] == [0, 1, 2, 3, 4]
        assert every.dropped == 0


def test_the_source_decides_how_a_rate_is_kept():
    assert isinstance(pace(Numbered(1), 5.0), Due)
    assert isinstance(pace(Numbered(1, live=True), 5.0), Latest)


# ---- frames that are due ------------------------------------------------------------------------------------------
def test_a_fast_network_waits_until_frames_are_due():
    clock = Hands()
    due = Due(Numbered(4), 10.0, clock)
    assert taken(due, clock, [0.01] * 9) == ([0, 1, 2, 3], [0.0, 0.1, 0.2, 0.3])
    assert due.dropped == 0


def test_a_slow_network_misses_frames_and_they_are_counted():
    clock = Hands()
    due = Due(Numbered(10), 10.0, clock)
    assert taken(due, clock, [0.25] * 9) == ([0, 2, 5, 7], [0.0, 0.25, 0.5, 0.75])
    assert due.dropped == 6


def test_one_slow_frame_costs_only_those_it_covers():
    clock = Hands()
    due = Due(Numbered(8), 10.0, clock)
    numbers, moments = taken(due, clock, [0.01, 0.35, 0.01, 0.01, 0.01, 0.01])
    assert numbers == [0, 1, 4, 5, 6, 7]
    assert moments == [0.0, 0.1, 0.45, 0.5, 0.6, 0.7]
    assert due.dropped == 2


def test_moments_do_not_drift():
    clock = Hands()
    numbers, moments = taken(Due(Numbered(1000), 30.0, clock), clock, [0.001] * 1000)
    assert numbers == list(range(1000))
    assert moments[-1] == pytest.approx(999 / 30)


def test_dropped_frames_are_not_converted():
    clock, converted = Hands(), []

    class Watched(Numbered):
        def frames(self, wake=None):
            for frame in super().frames():
                yield Frame(frame.number, lambda n=frame.number: converted.append(n))

    for frame in Due(Watched(6), 10.0, clock):
        frame.load()
        clock.time += 0.25
    assert converted == [0, 2, 5]


# ---- the slot -----------------------------------------------------------------------------------------------------
def frame(number):
    return Frame(number, list)


def test_the_slot_holds_the_newest_frame_and_counts_the_others():
    slot = Slot()
    for number in range(5):
        slot.put(frame(number))
    assert slot.dropped == 4
    assert slot.take().number == 4
    slot.put(frame(5))
    assert slot.take().number == 5
    assert slot.dropped == 4


def test_the_last_frame_is_delivered_before_the_end():
    slot = Slot()
    slot.put(frame(0))
    slot.end()
    assert slot.take().number == 0
    assert slot.take() is None
    assert slot.take() is None


def test_the_reason_for_the_end_comes_after_the_last_frame():
    slot = Slot()
    slot.put(frame(0))
    slot.end(InputError("cut off"))
    assert slot.take().number == 0
    with pytest.raises(InputError, match="cut off"):
        slot.take()


def test_taking_waits_for_a_frame():
    slot = Slot()
    threading.Timer(0.05, slot.put, (frame(7),)).start()
    assert slot.take().number == 7


# ---- the latest frame ---------------------------------------------------------------------------------------------
SIZE = 100_000
BYTES = InputSpec((1, SIZE), "uint8", "NCHW", None, None, ())


@pytest.fixture
def pipe(tmp_path):
    """A live stream of frames of `SIZE` bytes, and the file to write them to."""
    path = str(tmp_path / "pipe")
    os.mkfifo(path)
    both = os.open(path, os.O_RDWR)
    stream = Stream(path, coding.tensors(BYTES))
    with open(path, "wb", buffering=0) as writer:
        os.close(both)
        yield stream, writer
    stream.close()


def threads():
    return [t for t in threading.enumerate() if t.name == "legodnn-frames"]


def write(writer, number):
    data = memoryview(bytes([number % 256]) * SIZE)
    while data:
        data = data[writer.write(data) :]


def test_a_fast_writer_never_waits_and_memory_never_grows(pipe):
    """Five hundred frames come while the network is busy with the first; one of them is there when it is done."""
    stream, writer = pipe
    with Latest(stream, 1000.0, Hands()) as latest:
        frames = iter(latest)
        write(writer, 0)
        first = next(frames)
        tracemalloc.start()
        for number in range(1, 501):
            write(writer, number)
        writer.close()
        latest._thread.join()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        last = next(frames)
        assert (first.number, last.number) == (0, 500)
        assert last.load()[0].unique().tolist() == [500 % 256]
        assert latest.dropped == 499
        assert peak < 5 * SIZE
        assert list(frames) == []
    assert threads() == []


def test_the_network_runs_no_more_often_than_it_should():
    clock = Hands()
    latest = Latest(Numbered(0, live=True), 10.0, clock)
    moments = []
    latest.slot.put(frame(0))
    for _, busy in zip(latest, [0.02, 0.02, 0.3, 0.02, 0.02], strict=False):
        moments.append(round(clock.now() - 100.0, 9))
        clock.time += busy
        latest.slot.put(frame(0))
    assert moments == [0.0, 0.1, 0.2, 0.5, 0.6]  # what was late is not made up for


def test_the_frame_taken_is_the_newest_when_the_wait_is_over():
    class Camera(Hands):
        """Three frames come during every wait."""

        def sleep_until(self, moment):
            super().sleep_until(moment)
            for number in range(3):
                latest.slot.put(frame(10 * len(self.waits) + number))

    latest = Latest(Numbered(0, live=True), 10.0, Camera())
    frames = iter(latest)
    assert [next(frames).number for _ in range(3)] == [12, 22, 32]
    assert latest.dropped == 6


def test_a_stream_that_breaks_off_says_so_after_its_last_frame(pipe):
    stream, writer = pipe
    with Latest(stream, 1000.0, Hands()) as latest:
        write(writer, 3)
        writer.write(b"half")
        writer.close()
        frames = iter(latest)
        assert next(frames).number == 0
        with pytest.raises(InputError, match=f"frame 1 has 4 bytes, a {SIZE} uint8 frame has {SIZE}"):
            next(frames)
    assert threads() == []


@pytest.mark.parametrize("begun", [b"", b"half"])
def test_leaving_ends_a_thread_that_waits_for_data(pipe, begun):
    stream, writer = pipe
    writer.write(begun)
    with Latest(stream, 10.0):
        assert len(threads()) == 1
    assert threads() == []


def test_the_real_clock_goes_up_and_waits():
    clock = Clock()
    before = clock.now()
    clock.sleep_until(before + 0.01)
    assert clock.now() >= before + 0.01
    clock.sleep_until(before - 5)
