"""`Processor`: how much of the processor there is for a network, and how fast it runs."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Callable, Deque, Optional, Union

import torch

from legodnn.runtime.controller.budget import Budget
from legodnn.runtime.controller.source import Source
from legodnn.shared.cgroups import cpu_quota
from legodnn.shared.host import CpuSeconds, cpu_cores, cpu_frequency, cpu_seconds

_SHORTEST = 0.1
"""Seconds for which the machine is watched at least before its load is believed: the kernel counts in ticks."""

_READINGS = 5
"""Governors lower the frequency of an idle core, which says nothing; one that stays low for this many looks does."""


class Processor(Source):
    """How many times slower the device computes than when its cores were idle and at their highest frequency.

    Cores that other processes keep busy are missing, down to the fair share the kernel gives; a quota of the control
    group bounds what is left. A quota that holds already when this is made is taken to have held when latencies were
    measured. The rest is found by the controller, which corrects predictions by what it measures.

    Args:
        threads: with which the network runs; None for as many as torch uses now.
        cores: of the machine; None for as many as there are.
        root: where the file system begins, for files about control groups and frequencies.
        clock: what the cores have done, for tests.
    """

    def __init__(
        self,
        threads: Optional[int] = None,
        cores: Optional[int] = None,
        root: Union[str, Path] = "/",
        clock: Callable[[], CpuSeconds] = cpu_seconds,
    ) -> None:
        self._threads = threads or torch.get_num_threads()
        self._cores = cores or cpu_cores()
        self._root, self._clock = root, clock
        self._before = clock()
        self._others = 0.0
        self._frequencies: Deque[float] = deque(maxlen=_READINGS)
        self._usual = self._usable(cpu_quota(root))

    def read(self) -> Budget:
        """The slowdown now."""
        self._watch()
        self._frequencies.append(cpu_frequency(self._root))
        threads, cores = self._threads, self._cores
        # What others leave, or the share that the kernel takes from them once the network runs as well.
        left = max(cores - self._others, cores * threads / (threads + self._others))
        usable = min(left, self._usable(cpu_quota(self._root)))
        return Budget(slowdown=max(1.0, self._usual / usable) / max(self._frequencies))

    def _usable(self, quota: Optional[float]) -> float:
        """How many cores the network's threads can keep busy."""
        return min(self._threads, self._cores, self._threads if quota is None else quota)

    def _watch(self) -> None:
        now, before = self._clock(), self._before
        total = now.total - before.total
        if total >= _SHORTEST * self._cores:
            busy = (now.busy - before.busy) - (now.own - before.own)
            self._others = self._cores * min(1.0, max(0.0, busy / total))
            self._before = now
