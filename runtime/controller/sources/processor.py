"""`Processor`: how much of the processor there is for a network, and how fast it runs."""

from __future__ import annotations

import math
from collections import deque
from pathlib import Path
from typing import Callable, Deque, Optional, Union

import torch

from legodnn.runtime.controller.budget import Budget
from legodnn.runtime.controller.sources.source import Source
from legodnn.shared.cgroups import cpu_quota
from legodnn.shared.host import CpuSeconds, cpu_cores, cpu_frequency, cpu_seconds

_WINDOW = 0.3
"""Seconds for which the machine is watched before its load is believed: the kernel counts in ticks, and most processes
come and go in less."""

_LEAST, _ENOUGH = 0.1, 0.2
"""Cores' worth of others that are not noticed, and that the slowest inferences meet as if it were a whole core's. What
is between is taken for what it was before: a slowdown that comes bit by bit would be answered by a switch for each."""

_GREEDY = 0.9
"""Others that get this share of what is theirs in fairness may want more than they get."""

_READINGS = 5
"""Governors lower the frequency of an idle core, which says nothing; one that stays low for this many looks does."""


class Processor(Source):
    """How many times slower the device computes than when its cores were idle and at their highest frequency.

    An inference ends with the thread that has the least of its core, so what counts is how many threads there are on
    the fullest core, the network's and those of other processes. A quota of the control group is another bound. A quota
    that holds already when this is made is taken to have held when latencies were measured. The rest is found by the
    controller, which corrects predictions by what it measures.

    Args:
        threads: with which the network runs, or all networks together; None for as many as torch uses now.
        cores: of the machine; None for as many as there are.
        worst: how inferences are slowed down that meet the others, as is fit where deadlines are to be met: those who
            are there now and then are taken to be there. Otherwise how inferences are slowed down in the mean.
        root: where the file system begins, for files about control groups and frequencies.
        clock: what the cores have done, for tests.
    """

    def __init__(
        self,
        threads: Optional[int] = None,
        cores: Optional[int] = None,
        *,
        worst: bool = False,
        root: Union[str, Path] = "/",
        clock: Callable[[], CpuSeconds] = cpu_seconds,
    ) -> None:
        self._threads = threads or torch.get_num_threads()
        self._cores = cores or cpu_cores()
        self._worst = worst
        self._root, self._clock = root, clock
        self._seen: Deque[CpuSeconds] = deque([clock()])
        self._others = 0.0
        self._met = False  # whether the slowest inferences meet one more than those who are always there
        self._frequencies: Deque[float] = deque(maxlen=_READINGS)
        self._usual = self._usable(cpu_quota(root))

    def read(self) -> Budget:
        """The slowdown now."""
        self._watch()
        self._frequencies.append(cpu_frequency(self._root))
        usable = min(self._usable(None) / self._crowd(), self._usable(cpu_quota(self._root)))
        return Budget(slowdown=max(1.0, self._usual / usable) / max(self._frequencies))

    def _crowd(self) -> float:
        """Threads on the fullest core; between whole numbers of others, what is between."""
        threads, others = self._usable(None), self._others
        whole = math.ceil(others)
        if whole and others >= _GREEDY * self._cores * whole / (threads + whole):
            others = whole
        elif self._worst:
            others = math.floor(others) + self._met
        fewer, more = (math.ceil((threads + n) / self._cores) for n in (math.floor(others), math.ceil(others)))
        return fewer + (more - fewer) * (others - math.floor(others))

    def _usable(self, quota: Optional[float]) -> float:
        """How many cores the network's threads can keep busy."""
        return min(self._threads, self._cores, self._threads if quota is None else quota)

    def _watch(self) -> None:
        """What the machine has done since the last time that is long enough ago."""
        now, seen = self._clock(), self._seen
        seen.append(now)
        while len(seen) > 2 and now.total - seen[1].total >= _WINDOW * self._cores:
            seen.popleft()
        total = now.total - seen[0].total
        if total >= _WINDOW * self._cores:
            busy = (now.busy - seen[0].busy) - (now.own - seen[0].own)
            self._others = self._cores * min(1.0, max(0.0, busy / total))
            now_and_then = self._others % 1
            self._met = now_and_then >= _ENOUGH or (self._met and now_and_then > _LEAST)
