"""`ScalingOptimizer`: the selection with the best predicted accuracy within a time and a memory budget.

One integer program (Han et al., MobiCom 2021): a binary per variant, exactly one per block; the objective is the sum of
costs, which the predictor's curve never turns around. The budgets are rows; a further binary lifts them at a price no
cost can outweigh, so that a request that cannot be met is found, with the nearest selection, in the same single solve.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Dict, List, Mapping, Optional, Tuple

import pulp

from legodnn.runtime.memory import activation_bytes, weight_bytes
from legodnn.runtime.network import Network
from legodnn.runtime.seconds import LatencyTable
from legodnn.shared.errors import CompositionError, InfeasibleBudget, UsageError
from legodnn.shared.units import format_bytes, format_seconds

SOLVER_SECONDS = 30
_LIFTING = 10.0
_OVER = 100.0
_MARGIN = 1e-6


@dataclass(frozen=True)
class Choice:
    """A selection and what it is predicted to need and to reach.

    ``seconds`` is None where latencies have not been measured; ``accuracy_error`` is the predictor's mean error.
    """

    selection: Dict[str, str]
    seconds: Optional[float]
    memory_bytes: int
    accuracy: float
    accuracy_error: float
    within_budget: bool


class ScalingOptimizer:
    """Chooses selections for a network.

    Args:
        network: what to choose for; `LatencyEstimator` must have measured it before a time budget can be met.
        count_activations: whether memory means weights and peak activations, or weights alone.
        closest: take the nearest selection for a budget that cannot be met instead of raising.
    """

    def __init__(self, network: Network, *, count_activations: bool = True, closest: bool = False) -> None:
        self.network = network
        self.count_activations = count_activations
        self.closest = closest
        self.solves = 0

    def update_model(self, seconds: Optional[float] = None, memory_bytes: Optional[float] = None) -> Choice:
        """Choose for a budget of seconds per inference and bytes of memory, and switch the network to the choice.

        None is no limit. Raises `UsageError` for a budget that is not a positive number, `InfeasibleBudget` where
        nothing fits; the network then runs on as before.
        """
        choice = self.choose(seconds, memory_bytes)
        self.network.select(choice.selection)
        return choice

    def choose(self, seconds: Optional[float] = None, memory_bytes: Optional[float] = None) -> Choice:
        """What `update_model` would choose, without switching."""
        _check_budget("time", seconds, "seconds")
        _check_budget("memory", memory_bytes, "bytes")
        if seconds is not None and self.network.latency is None:
            raise UsageError("a time budget needs latencies: call LatencyEstimator(network).profile_all_blocks() first")
        teacher = self._choice(self.network.manifest.original_selection, seconds, memory_bytes)
        if teacher.within_budget:
            return teacher  # nothing costs less, and a solver's tolerance might see no difference
        choice = self._solve(seconds, memory_bytes, 0.0)
        if not choice.within_budget and _by_a_hair(choice, seconds, memory_bytes):
            # The solver's own tolerance let it step over a budget by a hair: ask again for a little less.
            choice = self._solve(seconds, memory_bytes, _MARGIN)
        if choice.within_budget or self.closest:
            return choice
        raise self._infeasible(seconds, memory_bytes, choice)

    # ---- minima -----------------------------------------------------------------------------------------------------
    def minimum_seconds(self) -> Optional[float]:
        """The least time any selection needs; None where latencies have not been measured."""
        table = self.network.latency
        if table is None:
            return None
        return table.predict({block: min(row, key=lambda v: row[v]) for block, row in table.variants.items()})

    def minimum_bytes(self) -> int:
        """The least memory any selection needs."""
        manifest = self.network.manifest
        peaks = sorted({v.activation_bytes for s in manifest.segments for v in s.variants})
        sizes = [self._smallest_with_peak(peak) for peak in peaks]
        return min(size for size in sizes if size is not None)

    def _smallest_with_peak(self, peak: int) -> Optional[int]:
        """Bytes of the smallest selection whose segments all stay within a peak of activations."""
        total = 0
        for segment in self.network.manifest.segments:
            free = not self.count_activations
            fitting = [v.weight_bytes for v in segment.variants if free or v.activation_bytes <= peak]
            if not fitting:
                return None
            total += min(fitting)
        return total + (peak if self.count_activations else 0)

    # ---- the program ------------------------------------------------------------------------------------------------
    def _solve(self, seconds: Optional[float], memory_bytes: Optional[float], margin: float) -> Choice:
        manifest, table = self.network.manifest, self.network.latency
        program = pulp.LpProblem("selection", pulp.LpMinimize)
        take: Dict[Tuple[str, str], Any] = {}
        for i, block in enumerate(manifest.blocks):
            for j, variant in enumerate(block.variants):
                take[block.name, variant.name] = pulp.LpVariable(f"take_{i}_{j}", cat="Binary")
            program += pulp.lpSum(take[block.name, v.name] for v in block.variants) == 1
        lifted = pulp.LpVariable("lifted", cat="Binary")
        over: List[Any] = []
        if seconds is not None and table is not None:
            # Rows are in units of the most any selection uses: whatever the budget, the numbers stay between 0 and 1.
            most = table.base + sum(max(row.values()) for row in table.variants.values())
            row = pulp.lpSum(table.variants[b][v] / most * take[b, v] for b, v in take) + table.base / most
            over.append(self._limit(program, "seconds", row, seconds * (1 - margin) / most, lifted))
        if memory_bytes is not None:
            most = sum(max(v.weight_bytes for v in s.variants) for s in manifest.segments)
            most += max(v.activation_bytes for s in manifest.segments for v in s.variants)
            row = self._memory_row(program, take, most)
            over.append(self._limit(program, "bytes", row, memory_bytes * (1 - margin) / most, lifted))
        scale = sum(max(v.cost for v in block.variants) for block in manifest.blocks) or 1.0
        costs = pulp.lpSum(manifest.segment(b).variant(v).cost / scale * take[b, v] for b, v in take)
        # Equal costs: the smaller network is the better one.
        sizes = {key: manifest.segment(key[0]).variant(key[1]).weight_bytes for key in take}
        slightly = 1e-6 / max(1, sum(sizes.values()))
        tie = pulp.lpSum(sizes[k] * slightly * take[k] for k in take)
        program += costs + tie + _LIFTING * lifted + _OVER * pulp.lpSum(over)
        program.solve(pulp.PULP_CBC_CMD(msg=False, timeLimit=SOLVER_SECONDS))
        self.solves += 1
        if program.status != pulp.LpStatusOptimal:
            raise CompositionError(f"the solver gave up: {pulp.LpStatus[program.status]}")
        return self._choice({b: v for (b, v), x in take.items() if x.value() > 0.5}, seconds, memory_bytes)

    @staticmethod
    def _limit(program: Any, name: str, row: Any, budget: float, lifted: Any) -> Any:
        """Keep ``row``, which never exceeds 1, within a budget; what exceeds it when lifted is returned."""
        excess = pulp.LpVariable(f"over_{name}", lowBound=0)
        program += row <= min(budget, 1.0) + excess
        program += excess <= lifted
        return excess

    def _memory_row(self, program: Any, take: Mapping[Tuple[str, str], Any], most: float) -> Any:
        manifest = self.network.manifest
        trunk = [s.original for s in manifest.segments if not s.is_block]
        fixed = sum(v.weight_bytes for v in trunk)
        variants = {(b, v): manifest.segment(b).variant(v) for b, v in take}
        row = pulp.lpSum(variants[k].weight_bytes / most * take[k] for k in take) + fixed / most
        if not self.count_activations:
            return row
        peak = pulp.LpVariable("peak", lowBound=max([v.activation_bytes / most for v in trunk], default=0))
        for key, variant in variants.items():
            program += peak >= variant.activation_bytes / most * take[key]
        return row + peak

    # ---- answers ----------------------------------------------------------------------------------------------------
    def _choice(self, selection: Dict[str, str], seconds: Optional[float], memory_bytes: Optional[float]) -> Choice:
        manifest, table = self.network.manifest, self.network.latency
        used = weight_bytes(manifest, selection)
        if self.count_activations:
            used += activation_bytes(manifest, selection)
        fits = memory_bytes is None or used <= Fraction(memory_bytes)
        if seconds is not None and table is not None:
            fits = fits and _exact_seconds(table, selection) <= Fraction(seconds)
        return Choice(
            selection=selection,
            seconds=table.predict(selection) if table is not None else None,
            memory_bytes=used,
            accuracy=manifest.predicted_accuracy(selection),
            accuracy_error=manifest.predictor.mean_error,
            within_budget=fits,
        )

    def _infeasible(
        self, seconds: Optional[float], memory_bytes: Optional[float], choice: Choice
    ) -> InfeasibleBudget:
        least_seconds, least_bytes = self.minimum_seconds(), self.minimum_bytes()
        wanted = [format_seconds(seconds)] if seconds is not None else []
        wanted += [format_bytes(memory_bytes)] if memory_bytes is not None else []
        least = [format_seconds(least_seconds)] if least_seconds is not None and seconds is not None else []
        least += [format_bytes(least_bytes)] if memory_bytes is not None else []
        nearest = f"{format_bytes(choice.memory_bytes)}"
        if choice.seconds is not None:
            nearest = f"{format_seconds(choice.seconds)} and {nearest}"
        return InfeasibleBudget(
            f"no selection fits {' and '.join(wanted)}: the least that can be had is {' or '.join(least)}; "
            f"the nearest selection needs {nearest}",
            minimum_seconds=least_seconds,
            minimum_bytes=least_bytes,
            closest=choice.selection,
            closest_seconds=choice.seconds,
            closest_bytes=choice.memory_bytes,
        )


def _exact_seconds(table: LatencyTable, selection: Mapping[str, str]) -> Fraction:
    return Fraction(table.base) + sum((Fraction(table.variants[b][v]) for b, v in selection.items()), Fraction(0))


def _by_a_hair(choice: Choice, seconds: Optional[float], memory_bytes: Optional[float]) -> bool:
    """Whether a choice is over its budgets by no more than the solver's tolerance."""
    time_fits = seconds is None or choice.seconds is None or choice.seconds <= seconds * (1 + _MARGIN)
    return time_fits and (memory_bytes is None or choice.memory_bytes <= memory_bytes * (1 + _MARGIN))


def _check_budget(what: str, value: Optional[float], unit: str) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise UsageError(f"the {what} budget is {value!r}; give a number of {unit}")
    if not math.isfinite(value) or value <= 0:
        raise UsageError(f"the {what} budget is {value}; give a positive number of {unit}")

