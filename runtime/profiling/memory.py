"""`MemoryEstimator`: memory of selections on this device, profiled in fresh processes.

A process that ran other things before cannot be profiled: freed memory is reused, and compiled operators are cached.
So a few selections, the largest and the smallest among them, each run in a fresh process, and the `MemoryTable` is a
line fitted to their sizes. Only Linux reports a process's peak; elsewhere nothing is measured and predictions use the
manifest.
"""

from __future__ import annotations

import gc
import random
import sys
from pathlib import Path
from typing import Any, Dict, List, Mapping, NamedTuple, Optional

import torch

from legodnn.runtime.device import child
from legodnn.runtime.device.memory_table import MemoryTable, fit_memory_table, lightest, read_memory_table
from legodnn.runtime.engine import Backend, Composer
from legodnn.runtime.engine.composer import Progress
from legodnn.runtime.engine.samples import touch_reading
from legodnn.runtime.engine.small import touch
from legodnn.runtime.network import Network
from legodnn.runtime.profiling.estimator import Estimator
from legodnn.shared import platform

MIXED = 3
"""Random selections measured beside the original and the smallest; not tuned."""

FRAMES = 20
"""Inferences during which the peak is measured; not tuned."""

PATIENCE = 600.0
"""Seconds after which a process is given up: a bound against hanging, far above the usual; not tuned."""

_CHILD = "from legodnn.runtime.profiling.memory import answer; answer()"


class MemoryProfile(NamedTuple):
    """Bytes over the process before it opened the bundle: the peak during inferences, what is resident after them, and
    the peak while the composition was made."""

    peak: int
    resident: int
    loading: int


class MemoryEstimator(Estimator):
    """Measures the memory of a network's selections on this device; sets the network's ``memory`` to the result.

    See `Estimator` for the arguments.
    """

    def profile_all_blocks(self, progress: Optional[Progress] = None, again: bool = False) -> Optional[MemoryTable]:
        """Return the memory table, from this device's cache if it has one, unless ``again``.

        None where it cannot be measured. ``progress`` is called with the selections measured and their total. Raises
        the errors of `Network.compose`, where the backend has to be found first.
        """
        network = self.network
        if network.way is None:
            network.compose(network.first_selection)
        table = None if again else self.remembered()
        if table is None and network.way is not None:
            table = self._measured(network.way, progress)
            if table is not None:
                network.cache.put("memory", table.to_plain())
        network.memory = table
        return table

    def remembered(self) -> Optional[MemoryTable]:
        """Return the cached table for the network's backend, and set ``memory`` to it; None where there is none."""
        network = self.network
        backend = network.way or Backend.from_text(network.cache.get("way"))
        network.memory = read_memory_table(network.cache.get("memory"), str(backend))
        return network.memory

    def selections(self) -> List[Dict[str, str]]:
        """The selections that are measured: the original, the smallest, and random ones."""
        blocks, generator = self.network.blocks, random.Random(self.seed)
        mixed = [{b.name: generator.choice(b.variants).name for b in blocks} for _ in range(MIXED)]
        found = [self.network.manifest.original_selection, lightest(self.network.manifest), *mixed]
        return [s for i, s in enumerate(found) if s not in found[:i]]

    def _measured(self, backend: Backend, progress: Optional[Progress]) -> Optional[MemoryTable]:
        network, selections, sizes = self.network, self.selections(), []
        for selection in selections:
            profile = profile_memory(network.reader.path, backend, selection, network.batch)
            if profile is None:
                return None
            sizes.append(profile.peak)
            if progress is not None:
                progress(len(sizes), len(selections))
        apart = backend.engine in ("compiled", "optimized")
        return fit_memory_table(network.manifest, str(backend), selections, sizes, apart)


def profile_memory(path: Path, backend: Backend, selection: Mapping[str, str], batch: int) -> Optional[MemoryProfile]:
    """The memory profile of a selection in a fresh process; None where it cannot be measured."""
    if not platform.knows_peak():
        return None
    request = {"path": str(path), "backend": str(backend), "batch": batch, "threads": torch.get_num_threads()}
    answer = child.ask(_CHILD, {**request, "selection": dict(selection)}, PATIENCE)
    return MemoryProfile(*answer) if isinstance(answer, list) and len(answer) == len(MemoryProfile._fields) else None


# ---- in the fresh process -------------------------------------------------------------------------------------------
def answer() -> None:
    """Read a request from standard input, print this process's memory profile as JSON."""
    child.answer(_profile)


def _profile(request: Mapping[str, Any]) -> MemoryProfile:
    torch.set_num_threads(request["threads"])
    backend = Backend.from_text(request["backend"])
    if backend is None:
        sys.exit(f"'{request['backend']}' is no backend")
    touch(backend)
    touch_reading()
    _give_back()
    before = platform.resident_bytes()
    platform.forget_peak()
    with Network.open(request["path"], cache=False, batch=request["batch"]) as network:
        inputs = network.sample_inputs()
        composer = Composer(network.reader, inputs)
        composer.backend = backend
        composition = composer.compose(request["selection"])
        loading = platform.peak_bytes()
        _give_back()
        platform.forget_peak()
        for _ in range(FRAMES):
            composition(*inputs)
        peak = platform.peak_bytes()
        _give_back()
        return MemoryProfile(peak - before, platform.resident_bytes() - before, loading - before)


def _give_back() -> None:
    """Return what is no longer used to the system."""
    gc.collect()
    platform.trim_heap()
