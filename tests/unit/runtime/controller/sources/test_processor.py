"""A device is as much slower as its cores are busy, bounded or slowed down."""

import pytest

from legodnn.runtime import Processor
from legodnn.shared.host import CpuSeconds


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
