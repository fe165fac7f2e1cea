"""`MemoryEstimator`: what selections make a process grow by on this device, measured in processes of their own.

Inside a process that has run before, or that does other things as well, growth cannot be told: memory that was freed is
used again, and operators once compiled are kept. So a few selections, the largest and the smallest among them, are each
run in a fresh process; a line through their sizes is the `MemoryTable`. Only Linux tells how much a process held at
most; elsewhere nothing is measured, and the bundle's tables are all there is.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Callable, Dict, List, Mapping, NamedTuple, Optional

import torch

from legodnn.runtime.device.allocator import give_back
from legodnn.runtime.device.memory_table import MemoryTable, fit_memory_table, read_memory_table
from legodnn.runtime.engine import Composer, Way
from legodnn.runtime.engine.small import touch
from legodnn.runtime.network import Network

Progress = Callable[[int, int], None]
"""Called with how many selections are measured and how many there are."""

MIXED = 3
"""Random selections that are measured beside the original and the smallest."""

FRAMES = 20
PATIENCE = 600.0
"""Seconds that a process may take."""

_CHILD = "from legodnn.runtime.growth import answer; answer()"
_PEAK = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


class Growth(NamedTuple):
    """Bytes that a process has grown by: while frames flow at most, and when they have gone and memory is given back;
    and at most while the selection was made to run."""

    peak: int
    resident: int
    loading: int


class MemoryEstimator:
    """Measures what a network's selections need on this device.

    Args:
        network: the network; its ``memory`` is set to the result.
        seed: of the selections that are measured.
    """

    def __init__(self, network: Network, seed: int = 0) -> None:
        self.network = network
        self.seed = seed

    def profile_all_blocks(self, progress: Optional[Progress] = None, again: bool = False) -> Optional[MemoryTable]:
        """What selections need; from this device's cache where it is known, unless ``again``.

        None where it cannot be measured. Raises what composing raises, where the way to run has to be found first.
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
        """What was measured before on this device for the way the network runs; None where nothing was."""
        network = self.network
        way = network.way or Way.from_text(network.cache.get("way"))
        network.memory = read_memory_table(network.cache.get("memory"), str(way))
        return network.memory

    def selections(self) -> List[Dict[str, str]]:
        """The selections that are measured: the original, the smallest, and random ones."""
        blocks, generator = self.network.blocks, random.Random(self.seed)
        smallest = {b.name: min(b.variants, key=lambda v: v.weight_bytes).name for b in blocks}
        mixed = [{b.name: generator.choice(b.variants).name for b in blocks} for _ in range(MIXED)]
        found = [self.network.manifest.original_selection, smallest, *mixed]
        return [s for i, s in enumerate(found) if s not in found[:i]]

    def _measured(self, way: Way, progress: Optional[Progress]) -> Optional[MemoryTable]:
        network, selections, grown = self.network, self.selections(), []
        for selection in selections:
            growth = measure_growth(network.reader.path, way, selection, network.batch)
            if growth is None:
                return None
            grown.append(growth.peak)
            if progress is not None:
                progress(len(grown), len(selections))
        apart = way.engine in ("compiled", "optimized")
        return fit_memory_table(network.manifest, str(way), selections, grown, apart)


def measure_growth(path: Path, way: Way, selection: Mapping[str, str], batch: int) -> Optional[Growth]:
    """What a fresh process grows by; None where it cannot be told."""
    if not _PEAK.exists() or not sys.executable:
        return None
    request = {"path": str(path), "way": str(way), "batch": batch, "threads": torch.get_num_threads()}
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p or os.getcwd() for p in sys.path)}
    try:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", _CHILD],
            input=json.dumps({**request, "selection": dict(selection)}),
            capture_output=True, text=True, check=True, timeout=PATIENCE, env=environment,
        )  # fmt: skip
        return Growth(*json.loads(done.stdout.splitlines()[-1]))
    except (OSError, subprocess.SubprocessError, ValueError, TypeError, IndexError):
        return None


# ---- in the fresh process -------------------------------------------------------------------------------------------
def answer() -> None:
    """Read a request from standard input, print what this process grows by."""
    request = json.load(sys.stdin)
    torch.set_num_threads(request["threads"])
    way = Way.from_text(request["way"])
    if way is None:
        sys.exit(f"'{request['way']}' is no way to run")
    print(json.dumps(_grown(request["path"], way, request["selection"], request["batch"])))


def _grown(path: str, way: Way, selection: Mapping[str, str], batch: int) -> Growth:
    touch(way)
    give_back()
    before = _bytes("VmRSS")
    _forget_peak()
    with Network.open(path, cache=False, batch=batch) as network:
        inputs = network.sample_inputs()
        composer = Composer(network.reader, inputs)
        composer.way = way
        composition = composer.compose(selection)
        loading = _bytes("VmHWM")
        give_back()
        _forget_peak()
        for _ in range(FRAMES):
            composition(*inputs)
        peak = _bytes("VmHWM")
        give_back()
        return Growth(peak - before, _bytes("VmRSS") - before, loading - before)


def _forget_peak() -> None:
    """Let the system count anew how much this process holds at most."""
    _PEAK.write_text("5", encoding="ascii")


def _bytes(name: str) -> int:
    """A figure that the system keeps of this process."""
    for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return 1024 * int(value.split()[0])
    raise OSError(f"{_STATUS}: there is no {name}")
