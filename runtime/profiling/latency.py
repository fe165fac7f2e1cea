"""`LatencyEstimator`: seconds of every variant on this device, measured on whole compositions.

A block timed alone takes longer than inside a network whose operators are fused across blocks, so whole compositions
are timed: selections in which every variant of every block appears equally often. They are measured in small groups
with the teacher, composed anew for each group, as the reference. The members of a group run in turns, and a turn's
result is the ratio to the reference, so that a disturbance or a throttling CPU affects all alike.
"""

from __future__ import annotations

import math
import random
import statistics
import time
from dataclasses import dataclass
from typing import Dict, List, Mapping, Optional, Sequence

from legodnn.runtime.device.latency_table import LatencyTable, fit_table, read_table
from legodnn.runtime.engine import WARM_UP, Composition, time_turns
from legodnn.runtime.engine.composer import Progress
from legodnn.runtime.profiling.estimator import Estimator

GROUP = 6
"""Compositions per group, beside the reference: bounds the compositions in memory at a time; not tuned."""

PER_UNKNOWN = 2.0
"""Compositions measured per unknown of the table, within `INFERENCES`: twice what a solution needs; not tuned."""

INFERENCES = 2_750
"""The most inferences of a measurement: bounds its time; finding the backend takes about 200 more."""

COMPOSING = WARM_UP + 1
"""Inferences for making a composition: its warm-up, and one through its segments for comparison."""

FEWEST_TURNS, MOST_TURNS = 5, 41
TURN_SECONDS = 2.0
"""Seconds for the turns of a group, within the bounds above; not tuned."""

COLD_SECONDS = 0.010
"""Shorter inferences are repeated in their turn, as they depend on warm CPU caches; not tuned."""


@dataclass(frozen=True)
class _Plan:
    """Compositions, turns of each, and inferences per turn, of which the last one counts."""

    compositions: int
    turns: int
    repeats: int


class LatencyEstimator(Estimator):
    """Measures a network's variants on this device, with the batch size the network was opened for.

    The network's ``latency`` is set to the result.

    See `Estimator` for the arguments.
    """

    def profile_all_blocks(self, progress: Optional[Progress] = None, again: bool = False) -> LatencyTable:
        """Return seconds of every variant, from this device's cache if it has them, unless ``again``.

        ``progress`` is called with the compositions measured and their total. Raises `BundleError`, `CompositionError`.
        """
        manifest = self.network.manifest
        table = None if again else read_table(self.network.cache.get("latency"), manifest)
        if table is None:
            table = self._measured(progress)
            self.network.cache.put("latency", table.to_plain())
        self.network.latency = table
        return table

    def predict(self, selection: Mapping[str, str]) -> float:
        """Predicted seconds per inference of a selection; measures first if the network has no table."""
        table = self.network.latency or self.profile_all_blocks()
        return table.predict(selection)

    def _measured(self, progress: Optional[Progress]) -> LatencyTable:
        reference = self._reference()
        plan = self._plan(reference)
        selections = self._selections(plan.compositions)
        inputs = self.network.sample_inputs()
        ratios: List[float] = []
        references: List[float] = []
        for start in range(0, len(selections), GROUP):
            if start:  # composed anew as the members are, since addresses of weights affect times
                reference = self._reference()
            group = [reference, *(self.network.compose(s) for s in selections[start : start + GROUP])]
            turns = time_turns(group, inputs, plan.turns, plan.repeats)
            references.append(statistics.median(turn[0] for turn in turns))
            ratios += [statistics.median(turn[i] / turn[0] for turn in turns) for i in range(1, len(group))]
            if progress is not None:
                progress(len(ratios), len(selections))
        return fit_table(self.network.manifest, selections, ratios, references)

    def _reference(self) -> Composition:
        return self.network.compose(self.network.manifest.original_selection)

    def _plan(self, reference: Composition) -> _Plan:
        """`PER_UNKNOWN` compositions per unknown, or as many as fit into `INFERENCES` with the fewest turns."""
        inputs = self.network.sample_inputs()
        started = time.perf_counter()
        reference(*inputs)
        once = max(1e-6, time.perf_counter() - started)
        repeats = 2 if once < COLD_SECONDS else 1
        unknown = 1 + sum(len(block.variants) - 1 for block in self.network.blocks)
        compositions = max(4, int(PER_UNKNOWN * unknown) + 1)
        fewest = COMPOSING + repeats * FEWEST_TURNS
        compositions = min(compositions, (INFERENCES // fewest) * GROUP // (GROUP + 1))
        made = compositions + math.ceil(compositions / GROUP)
        turns = min((INFERENCES // made - COMPOSING) // repeats, int(TURN_SECONDS / (once * repeats * (GROUP + 1))))
        return _Plan(compositions, max(FEWEST_TURNS, min(MOST_TURNS, turns)), repeats)

    def _selections(self, count: int) -> List[Dict[str, str]]:
        """Random selections in which all variants of a block appear equally often, the teacher among them."""
        generator = random.Random(self.seed)
        columns: Dict[str, Sequence[str]] = {}
        for block in self.network.blocks:
            names = [v.name for v in block.variants]
            column = [names[i % len(names)] for i in range(count - 1)]
            generator.shuffle(column)
            columns[block.name] = column
        selections = [{block: column[i] for block, column in columns.items()} for i in range(count - 1)]
        return [self.network.manifest.original_selection, *selections]
