"""`MemoryEstimator`: what selections make a process grow by on this device, measured in processes of their own.

Inside a process that has run before, or that does other things as well, growth cannot be told: memory that was freed is
used again, and operators once compiled are kept. So a few selections, the largest and the smallest among them, are each
run in a fresh process; a line through their sizes is the `MemoryTable`. Only Linux tells how much a process held at
most; elsewhere nothing is measured, and the bundle's tables are all there is.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any, Dict, List, Mapping, NamedTuple, Optional

import torch

from legodnn.runtime.device import child, footprint
from legodnn.runtime.device.allocator import give_back
from legodnn.runtime.device.memory_table import MemoryTable, fit_memory_table, lightest, read_memory_table
from legodnn.runtime.engine import Composer, Way
from legodnn.runtime.engine.composer import Progress
from legodnn.runtime.engine.small import touch
from legodnn.runtime.network import Network
from legodnn.runtime.profiling.estimator import Estimator

MIXED = 3
"""Random selections that are measured beside the original and the smallest."""

FRAMES = 20
PATIENCE = 600.0
"""Seconds that a process may take."""

_CHILD = "from legodnn.runtime.profiling.memory import answer; answer()"


class Growth(NamedTuple):
    """Bytes that a process has grown by: while frames flow at most, and when they have gone and memory is given back;
    and at most while the selection was made to run."""

    peak: int
    resident: int
    loading: int


class MemoryEstimator(Estimator):
    """Measures what a network's selections need on this device; the network's ``memory`` is set to the result.

    See `Estimator` for the arguments.
    """

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
        mixed = [{b.name: generator.choice(b.variants).name for b in blocks} for _ in range(MIXED)]
        found = [self.network.manifest.original_selection, lightest(self.network.manifest), *mixed]
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
    if not footprint.can_be_told():
        return None
    request = {"path": str(path), "way": str(way), "batch": batch, "threads": torch.get_num_threads()}
    answer = child.ask(_CHILD, {**request, "selection": dict(selection)}, PATIENCE)
    return Growth(*answer) if isinstance(answer, list) and len(answer) == len(Growth._fields) else None


# ---- in the fresh process -------------------------------------------------------------------------------------------
def answer() -> None:
    """Read a request from standard input, print what this process grows by."""
    child.answer(_grown)


def _grown(request: Mapping[str, Any]) -> Growth:
    torch.set_num_threads(request["threads"])
    way = Way.from_text(request["way"])
    if way is None:
        sys.exit(f"'{request['way']}' is no way to run")
    touch(way)
    give_back()
    before = footprint.resident_bytes()
    footprint.forget_peak()
    with Network.open(request["path"], cache=False, batch=request["batch"]) as network:
        inputs = network.sample_inputs()
        composer = Composer(network.reader, inputs)
        composer.way = way
        composition = composer.compose(request["selection"])
        loading = footprint.peak_bytes()
        give_back()
        footprint.forget_peak()
        for _ in range(FRAMES):
            composition(*inputs)
        peak = footprint.peak_bytes()
        give_back()
        return Growth(peak - before, footprint.resident_bytes() - before, loading - before)
