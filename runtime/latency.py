"""`LatencyEstimator`: how long every variant takes on this device, measured on whole compositions.

Blocks timed alone take longer than inside a network whose operators are fused across their borders, so whole
compositions are timed: selections in which every variant of every block appears equally often. They take turns, in
small groups with the teacher as a common reference, so that a disturbance or a throttling CPU meets all alike.
"""

from __future__ import annotations

import random
import statistics
import time
from typing import Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from legodnn.runtime.composition import Composition, time_interleaved
from legodnn.runtime.network import Network
from legodnn.runtime.seconds import LatencyTable, fit_table, read_table

Progress = Callable[[int, int], None]
"""Called with how many compositions are measured and how many there are."""

GROUP = 6
MIN_ROUNDS, MAX_ROUNDS = 7, 41
GROUP_SECONDS = 1.0
"""Time spent on the rounds of a group, within the bounds above."""

PER_UNKNOWN = 2.0
"""Compositions measured for every number to be found."""


class LatencyEstimator:
    """Measures a network's variants on this device.

    Args:
        network: the network; its ``latency`` is set to the result.
        seed: of the selections that are measured.
    """

    def __init__(self, network: Network, seed: int = 0) -> None:
        self.network = network
        self.seed = seed

    def profile_all_blocks(self, progress: Optional[Progress] = None, again: bool = False) -> LatencyTable:
        """Seconds of every variant; from this device's cache where they are known, unless ``again``.

        Raises what composing raises: `BundleError`, `CompositionError`.
        """
        manifest = self.network.manifest
        table = None if again else read_table(self.network.cache.get("latency"), manifest)
        if table is None:
            selections = self._selections()
            seconds, noise = self._measure(selections, progress)
            table = fit_table(manifest, selections, seconds, noise)
            self.network.cache.put("latency", table.to_plain())
        self.network.latency = table
        return table

    def predict(self, selection: Mapping[str, str]) -> float:
        """Seconds per inference of a selection; measures first where that has not been done."""
        table = self.network.latency or self.profile_all_blocks()
        return table.predict(selection)

    def _selections(self) -> List[Dict[str, str]]:
        """Random selections in which all variants of a block appear equally often, the teacher among them."""
        blocks = self.network.blocks
        unknown = 1 + sum(len(block.variants) - 1 for block in blocks)
        count = max(4, int(PER_UNKNOWN * unknown) + 1)
        generator = random.Random(self.seed)
        columns: Dict[str, List[str]] = {}
        for block in blocks:
            names = [v.name for v in block.variants]
            column = [names[i % len(names)] for i in range(count - 1)]
            generator.shuffle(column)
            columns[block.name] = column
        selections = [{block: column[i] for block, column in columns.items()} for i in range(count - 1)]
        return [self.network.manifest.original_selection, *selections]

    def _measure(
        self, selections: Sequence[Mapping[str, str]], progress: Optional[Progress]
    ) -> Tuple[List[float], float]:
        """Seconds of every selection, and how much the reference varied between groups."""
        sample = self.network.sample_inputs()
        reference = self.network.compose(self.network.manifest.original_selection)
        ratios: List[float] = []
        references: List[float] = []
        for start in range(0, len(selections), GROUP):
            group = [self.network.compose(s) for s in selections[start : start + GROUP]]
            median = time_interleaved([reference, *group], sample, self._rounds(reference, len(group) + 1))
            references.append(median[0])
            ratios.extend(m / median[0] for m in median[1:])
            if progress is not None:
                progress(len(ratios), len(selections))
        typical = statistics.median(references)
        # The teacher is measured once more as a member of the first group: the two should be the same.
        noise = max(abs(ratios[0] - 1), statistics.median(abs(r / typical - 1) for r in references))
        return [ratio * typical for ratio in ratios], noise

    def _rounds(self, reference: Composition, members: int) -> int:
        started = time.perf_counter()
        reference(*self.network.sample_inputs())
        once = max(1e-6, time.perf_counter() - started)
        return max(MIN_ROUNDS, min(MAX_ROUNDS, int(GROUP_SECONDS / (once * members))))
