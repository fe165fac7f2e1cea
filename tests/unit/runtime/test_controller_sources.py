"""Sources of budgets: what they say, and what becomes of them when they fail."""

import os
import signal
import threading

import pytest

from legodnn.runtime import Budget, Callback, Fixed, FreeMemory, Processor, SignalSteps, Source, Tightest
from legodnn.runtime.controller import free_memory as free_memory_module
from legodnn.runtime.controller.budget import Limits
from legodnn.shared.errors import UsageError
from legodnn.shared.host import CpuSeconds
from tests.unit.runtime.controlled import SMALL, Bench, Given


# ---- budgets --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("wrong", [{"seconds": 0}, {"memory_bytes": -1}, {"slowdown": 0}, {"seconds": float("nan")}])
def test_budgets_are_positive_numbers(wrong):
    with pytest.raises(UsageError):
        Budget(**wrong)


def test_a_slower_device_has_less_time_for_what_was_predicted():
    assert Budget(0.06, 100, slowdown=2).limits(scale=3) == Limits(0.01, 100)
    assert Budget(None, 100, slowdown=2).limits(scale=3) == Limits(None, 100)


def test_limits_are_compared_in_both_dimensions():
    assert Limits(1, 5).met_by(1, 5)
    assert not Limits(1, 5).met_by(1.1, 5)
    assert not Limits(1, 5).met_by(1, 6)
    assert not Limits(1, None).met_by(None, 6)
    assert Limits(None, None).met_by(None, 6)
    assert Limits(1, 5).within(Limits(None, 5))
    assert not Limits(None, 5).within(Limits(1, 5))
    assert Limits(1.5, 3).with_reserve(0.5) == Limits(1, 2)


def test_the_tightest_of_several_wins():
    given = Given(Budget(0.02, 100, slowdown=2))
    both = Tightest(Fixed(Budget(0.01)), given, Fixed(Budget(None, 200, slowdown=3)))
    assert both.read() == Budget(0.01, 100, 3)
    both.start()
    assert given.running
    both.stop()
    assert not given.running
    assert Tightest().read() == Budget()


def test_a_source_that_raises_counts_with_what_it_said_last():
    given = Given(Budget(0.02))
    both = Tightest(Fixed(Budget(0.05)), given)
    assert (both.read().seconds, both.trouble) == (0.02, None)
    given.budget = RuntimeError("lost")
    assert (both.read().seconds, both.trouble) == (0.02, "Given raised RuntimeError: lost")
    given.budget = Budget(0.03)
    assert (both.read().seconds, both.trouble) == (0.03, None)


def test_sources_that_were_started_are_stopped_where_one_cannot_be():
    class Refuses(Source):
        def start(self):
            raise UsageError("no")

    given = Given()
    with pytest.raises(UsageError, match="no"):
        Tightest(given, Refuses()).start()
    assert not given.running


# ---- memory ---------------------------------------------------------------------------------------------------------
def test_free_memory_is_a_share_of_what_is_free_and_of_what_the_network_has(monkeypatch):
    bench, free = Bench(), 20_000
    monkeypatch.setattr(free_memory_module, "free_memory", lambda root: free)
    source = FreeMemory(bench.network, share=0.5)
    assert source.read().memory_bytes == 10_000  # nothing has run yet, so the network has nothing
    bench.network.select(bench.network.selection)
    assert source.read().memory_bytes == 15_100
    bench.network.select(SMALL)
    free += 8_000  # which the smaller one does not take: what there is has not changed
    assert source.read().memory_bytes == 15_100
    free = 0
    assert source.read().memory_bytes == 1_100


def test_free_memory_has_a_share_that_can_be(monkeypatch):
    with pytest.raises(UsageError, match="share"):
        FreeMemory(Bench().network, share=1.5)
    monkeypatch.setattr(free_memory_module, "free_memory", lambda root: 0)
    assert FreeMemory(Bench().network).read().memory_bytes == 1


# ---- processor ------------------------------------------------------------------------------------------------------
class Cores:
    """Counts what two or more cores have done."""

    def __init__(self):
        self.now = CpuSeconds(1000.0, 500.0, 100.0)

    def __call__(self):
        return self.now

    def work(self, total, others, own=0.0):
        now = self.now
        self.now = CpuSeconds(now.total + total, now.busy + others + own, now.own + own)


@pytest.mark.parametrize(("threads", "total", "others", "own", "slowdown"), [
    (2, 4.0, 0.0, 4.0, 1.0), (2, 4.0, 1.0, 2.0, 1.5), (1, 4.0, 2.0, 2.0, 1.0), (2, 4.0, 4.0, 0.0, 2.0),
    (1, 4.0, 4.0, 0.0, 2.0), (2, 4.0, 0.5, 0.0, 1.25), (2, 0.01, 0.01, 0.0, 1.0),
    (2, 4.0, 1.3, 2.7, 2.0),  # one other has its fair share of two cores, and would take more
])  # fmt: skip
def test_load_of_others_slows_down(tmp_path, threads, total, others, own, slowdown):
    cores = Cores()
    processor = Processor(threads, cores=2, root=tmp_path, clock=cores)
    assert processor.read().slowdown == 1
    cores.work(total, others, own)
    assert processor.read().slowdown == pytest.approx(slowdown)


def test_the_slowest_inferences_meet_the_others(tmp_path):
    cores = Cores()
    processor = Processor(2, cores=2, root=tmp_path, clock=cores, worst=True)
    seen = []
    for others in (0.1, 0.3, 0.5, 0.3, 0.1, 0.3, 2.0):
        cores.work(4.0, others)
        seen.append(processor.read().slowdown)
    assert seen == [1, 1, 2, 2, 1, 1, 2]


def test_load_is_what_it_was_in_the_last_moments(tmp_path):
    cores = Cores()
    processor = Processor(2, cores=2, root=tmp_path, clock=cores)
    for _ in range(20):
        cores.work(0.1, 0.05)
        slow = processor.read().slowdown
    assert slow == pytest.approx(2.0)
    for _ in range(3):
        cores.work(0.1, 0.0)
    assert 1 < processor.read().slowdown < 2
    for _ in range(20):
        cores.work(0.1, 0.0)
        slow = processor.read().slowdown
    assert slow == 1


def test_a_quota_slows_down_when_it_comes_not_when_it_was_there(tmp_path):
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/\n")
    quota = tmp_path / "sys/fs/cgroup/cpu.max"
    quota.write_text("200000 100000\n")
    processor = Processor(4, cores=4, root=tmp_path, clock=Cores())
    assert processor.read().slowdown == 1
    quota.write_text("50000 100000\n")
    assert processor.read().slowdown == 4


def test_a_frequency_slows_down_once_it_stays_low(tmp_path):
    folder = tmp_path / "sys/devices/system/cpu/cpu0/cpufreq"
    folder.mkdir(parents=True)
    (folder / "cpuinfo_max_freq").write_text("1500000\n")
    (folder / "scaling_cur_freq").write_text("1500000\n")
    processor = Processor(1, cores=2, root=tmp_path, clock=Cores())
    assert processor.read().slowdown == 1
    (folder / "scaling_cur_freq").write_text("600000\n")
    found = [processor.read().slowdown for _ in range(5)]
    assert found == [1, 1, 1, 1, 2.5]


def test_the_processor_can_be_read_here():
    assert Processor().read().slowdown >= 1


# ---- callbacks ------------------------------------------------------------------------------------------------------
def workers():
    return [t for t in threading.enumerate() if t.name == "legodnn-budget"]


def test_a_callback_is_asked_at_every_look_in_another_thread():
    asked = []

    def budget():
        asked.append(threading.current_thread().name)
        return Budget(0.01 * len(asked))

    source = Callback(budget, timeout=30)
    assert [source.read().seconds, source.read().seconds] == [0.01, 0.02]
    assert asked == ["legodnn-budget"] * 2
    assert source.trouble is None


@pytest.mark.parametrize(("answer", "trouble"), [
    (RuntimeError("no idea"), "Callback raised RuntimeError: no idea"), (SystemExit(1), "SystemExit"),
    (0.01, "returned float, not Budget"),
])  # fmt: skip
def test_the_last_good_answer_of_a_callback_holds(answer, trouble):
    answers = [Budget(0.01), answer, Budget(0.02)]

    def budget():
        value = answers.pop(0)
        if isinstance(value, BaseException):
            raise value
        return value

    source = Callback(budget, timeout=30)
    assert source.read() == Budget(0.01)
    assert source.read() == Budget(0.01)
    assert trouble in source.trouble
    assert source.read() == Budget(0.02)
    assert source.trouble is None


def test_a_hanging_callback_blocks_one_look_and_no_more_and_is_one_thread():
    release, calls = threading.Event(), []

    def budget():
        calls.append(1)
        if len(calls) == 2:
            release.wait()
            return Budget(0.5)
        return Budget(0.1 * len(calls))

    source = Callback(budget, timeout=0.05)
    source._timeout = 30
    assert source.read().seconds == 0.1
    source._timeout = 0.001
    troubles = {(source.read().seconds, source.trouble) for _ in range(1000)}
    assert len(troubles) == 1
    assert "has not returned within 0.001 s" in troubles.pop()[1]
    assert len(calls) == 2
    assert len(workers()) == 1
    source._timeout = 30
    release.set()
    for worker in workers():
        worker.join()
    assert source.read().seconds == pytest.approx(0.3)
    assert source.trouble is None


def test_what_a_late_callback_said_counts_until_the_next_answer():
    release, calls = threading.Event(), []

    def budget():
        calls.append(1)
        if len(calls) > 1:
            raise RuntimeError("gone")
        release.wait()
        return Budget(0.5)

    source = Callback(budget, timeout=0.001)
    assert source.read() == Budget()
    [worker] = workers()
    release.set()
    worker.join()
    source._timeout = 30
    assert source.read() == Budget(0.5)
    assert "gone" in source.trouble


# ---- signals --------------------------------------------------------------------------------------------------------
BUDGETS = [Budget(0.01), Budget(0.02)]


def test_a_signal_steps_through_budgets():
    seen = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: seen.append(number))
    source = SignalSteps(BUDGETS)
    source.start()
    try:
        found = [source.read()]
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGUSR1)
            found.append(source.read())
    finally:
        source.stop()
    os.kill(os.getpid(), signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, before)
    assert found == [BUDGETS[0], BUDGETS[1], BUDGETS[0]]
    assert seen == [signal.SIGUSR1]


def test_signals_that_cannot_be_listened_to_are_refused(monkeypatch):
    with pytest.raises(UsageError, match="no budgets"):
        SignalSteps([])
    with pytest.raises(UsageError, match="cannot be listened to"):
        SignalSteps(BUDGETS, signal.SIGKILL).start()
    refused = []

    def elsewhere():
        try:
            SignalSteps(BUDGETS).start()
        except UsageError as error:
            refused.append(str(error))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert "main thread" in refused[0]
    monkeypatch.delattr(signal, "SIGUSR1")
    with pytest.raises(UsageError, match="no SIGUSR1"):
        SignalSteps(BUDGETS)
