"""Thousands of random switches while four threads run frames: every output is right, and nothing is left behind."""

import ctypes
import itertools
import os
import random
import statistics
import threading
import time
from array import array
from collections import deque

import psutil
import pytest
import torch

from legodnn.runtime import Network
from legodnn.runtime.device.memory_table import needed_together
from legodnn.runtime.switching import switcher as switching
from legodnn.shared.platform import trim_heap
from tests.bundles import selections

THREADS, EVERY = 4, 20
M_ARENA_MAX = -8
"""The number of glibc's parameter for how many such places there are at most."""

SELECTIONS = selections()


class Frames:
    """Runs frames in a thread; keeps each call's begin, end, and the number of the selection whose output it was.

    They are kept until they are checked, so that what the process grows by is not the test's own doing.
    """

    def __init__(self, network, maker, stop):
        self.network, self.stop, self.calls, self.error = network, stop, deque(), None
        self.checked, self.wrong = 0, []
        self.x = torch.randn(1, 3, 16, 16)
        self.expected = torch.cat([maker.answer(s, self.x) for s in SELECTIONS])
        apart = torch.cdist(self.expected, self.expected) + torch.eye(len(SELECTIONS))
        assert apart.min() > 10 * 1e-4 * self.expected.norm(dim=1).max()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        try:
            while not self.stop.is_set():
                began = time.perf_counter()
                answer = self.network(self.x)
                ended = time.perf_counter()
                errors = (self.expected - answer).norm(dim=1) / self.expected.norm(dim=1)
                number = int(errors.argmin())
                self.calls.append((began, ended, number if errors[number] < 1e-4 else -1))
        except Exception as error:
            self.error = error

    def check(self, log):
        """Compare the calls that have ended with the switches so far, none of which is still being made."""
        calls = [self.calls.popleft() for _ in range(len(self.calls))]
        self.checked += len(calls)
        self.wrong += wrong_calls(calls, list(log))


def switch_at_random(network, count, workers, log):
    """Random switches, here and in the background, logged as (asked, served, selection); returns memory after each."""
    memory, generator = array("q"), random.Random(count)
    for done in range(count):
        number = generator.randrange(len(SELECTIONS))
        asked = time.perf_counter()
        if generator.random() < 0.5:
            network.select(SELECTIONS[number])
        else:
            network.select_later(SELECTIONS[number]).result(timeout=120)
        log.append((asked, time.perf_counter(), number))
        memory.append(psutil.Process().memory_info().rss)
        if done % EVERY == EVERY - 1:
            for worker in workers:
                worker.check(log)
    return memory


def wrong_calls(calls, log):
    """Calls whose output is that of no composition that was current at any time between their begin and their end."""
    wrong, first = [], 0
    for began, ended, number in calls:
        while first + 1 < len(log) and log[first + 1][1] < began:
            first += 1  # what was replaced before the call began cannot have served it
        current = itertools.takewhile(lambda entry: entry[0] <= ended, log[first:])  # noqa: B023  (used up at once)
        if number not in {entry[2] for entry in current}:
            wrong.append((began, ended, number))
    return wrong


def run(path, maker, count):
    threads, native = threading.active_count(), len(os.listdir("/proc/self/task"))
    descriptors = len(os.listdir("/proc/self/fd"))
    stop = threading.Event()
    with Network.open(path) as network:
        # Some are kept for the way back and some are not, so that both ways are taken.
        network.keep_within = needed_together(network.manifest, SELECTIONS[::9])
        started = time.perf_counter()
        network.select(SELECTIONS[0])
        workers = [Frames(network, maker, stop) for _ in range(THREADS)]
        for worker in workers:
            worker.thread.start()
        log = deque([(started, started, 0)], maxlen=10 * EVERY)
        memory = switch_at_random(network, count, workers, log)
        stop.set()
        for worker in workers:
            worker.thread.join()
            worker.check(log)
        assert [worker.error for worker in workers] == [None] * THREADS
        assert [worker.wrong for worker in workers] == [[]] * THREADS
        assert all(worker.checked > count / 10 for worker in workers)
    assert threading.active_count() == threads
    patience = time.monotonic() + 30
    while len(os.listdir("/proc/self/task")) > native:  # the system takes a moment longer than Python to end a thread
        assert time.monotonic() < patience
        time.sleep(0.01)
    assert len(os.listdir("/proc/self/fd")) == descriptors
    return memory


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def no_pauses(monkeypatch):
    """The more often one switches, the more there is to go wrong."""
    monkeypatch.setattr(switching, "LONGEST_PAUSE", 0.0)


@pytest.fixture
def one_arena():
    """glibc keeps freed memory apart for each thread, some of it in pages it cannot give back; how much that comes to
    says more about who ran when than about what was left behind."""
    ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)


needs_proc = pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="counts threads and files by /proc")


@needs_proc
@pytest.mark.usefixtures("one_thread", "no_pauses")
def test_every_output_is_of_a_composition_that_was_current(path, maker):
    run(path, maker, 200)


@needs_proc
@pytest.mark.slow
@pytest.mark.usefixtures("one_thread", "no_pauses", "one_arena")
def test_ten_thousand_switches_leave_memory_as_it_was(path, maker):
    memory = run(path, maker, 10_000)
    trim_heap()
    medians = [statistics.median(memory[i : i + 1000]) for i in range(0, len(memory), 1000)]
    print("MiB resident, by thousands:", *(f"{median / 2**20:.1f}" for median in medians))
    assert medians[-1] <= 1.02 * medians[1]


def test_a_wrong_output_would_be_noticed():
    log = [(0.0, 0.0, 7), (1.0, 2.0, 3), (3.0, 4.0, 5)]
    right = [(0.1, 0.2, 7), (0.5, 1.1, 3), (1.5, 1.6, 7), (1.5, 1.6, 3), (2.5, 2.6, 3), (0.5, 3.5, 5), (5.0, 6.0, 5)]
    assert wrong_calls(sorted(right), log) == []
    for call in [(0.1, 0.2, 3), (2.5, 2.6, 7), (2.5, 2.6, 5), (5.0, 6.0, 3), (5.0, 6.0, -1)]:
        assert wrong_calls([call], log) == [call]
