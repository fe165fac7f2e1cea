"""`Processor`: the slowdown by load, quota and frequency of the cores."""

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
"""Seconds over which load is averaged: the kernel counts in ticks of 1 to 10 ms, and most processes are shorter."""

_LEAST, _ENOUGH = 0.1, 0.2
"""Load of other processes in cores: below the first it is ignored, from the second on it counts as a whole core for the
slowest inferences. In between the last state holds, so that a gradual rise does not cause a switch at each step. Not
tuned."""

_GREEDY = 0.9
"""Share of their fair share from which on other processes are assumed to want more than they get; not tuned."""

_READINGS = 5
"""Readings of which the highest frequency counts: governors lower that of an idle core for a while; not tuned."""


class Processor(Source):
    """The slowdown over idle cores at their highest frequency.

    An inference ends with its slowest thread, so the number of threads on the fullest core counts: the network's and
    those of other processes. A CPU quota of the control group is a second bound; the quota at construction is assumed
    to have held when latencies were measured. Controllers correct the rest by measured inferences.

    Args:
        threads: of the network, or of all networks together; None for as many as torch uses now.
        cores: of the machine; None for as many as it has.
        worst: return the slowdown of inferences that meet other processes, for deadlines: occasional load counts as
            permanent. Otherwise the mean slowdown.
        root: where the file system begins, for files of control groups and frequencies.
        clock: returns the cores' `CpuSeconds`, for tests.
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
        self._met = False  # whether occasional load counts as one more process
        self._frequencies: Deque[float] = deque(maxlen=_READINGS)
        self._usual = self._usable(cpu_quota(root))

    def read(self) -> Budget:
        """A budget with the current slowdown."""
        self._watch()
        self._frequencies.append(cpu_frequency(self._root))
        usable = min(self._usable(None) / self._crowd(), self._usable(cpu_quota(self._root)))
        return Budget(slowdown=max(1.0, self._usual / usable) / max(self._frequencies))

    def _crowd(self) -> float:
        """Threads on the fullest core; linear between whole numbers of other threads."""
        threads, others = self._usable(None), self._others
        whole = math.ceil(others)
        if whole and others >= _GREEDY * self._cores * whole / (threads + whole):
            others = whole
        elif self._worst:
            others = math.floor(others) + self._met
        fewer, more = (math.ceil((threads + n) / self._cores) for n in (math.floor(others), math.ceil(others)))
        return fewer + (more - fewer) * (others - math.floor(others))

    def _usable(self, quota: Optional[float]) -> float:
        """Cores that the network's threads can keep busy, within a quota in cores."""
        return min(self._threads, self._cores, self._threads if quota is None else quota)

    def _watch(self) -> None:
        """Update the load of other processes, averaged over at least `_WINDOW`."""
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
