"""The joint answer, by an integer program with a binary for every point of the networks' frontiers.

A point has its network's predicted accuracy, for any shape of the predictor's curve, and its activation peak, so the
program is small and nearly integral. With a binary for every variant instead, CBC can take minutes for a dozen
networks.
"""

from __future__ import annotations

from typing import Any, List, Optional, Sequence, Tuple

import pulp
import torch

from legodnn.runtime.multi.shortlist import Points, shortlist
from legodnn.runtime.optimizer.answer import ATTEMPTS, Answer, nearest
from legodnn.runtime.optimizer.figures import Selection
from legodnn.runtime.optimizer.frontier import Frontier
from legodnn.runtime.optimizer.problem import ACCURACY, TIME, Problem
from legodnn.runtime.optimizer.program import Terms, add_row, is_taken
from legodnn.runtime.optimizer.solver import solve


def joint_answer(problem: Problem, frontiers: Sequence[Frontier]) -> Answer:
    """The answer to a problem of several networks; each frontier is within its network's own bounds.

    Raises `SolverError` where no solver could be used.
    """
    ideal = problem.unbounded_best()
    if problem.met(ideal):
        return Answer(ideal, True, 0)
    if not all(len(f) for f in frontiers) or (problem.utilisation is not None and problem.utilisation <= 0):
        return nearest(problem)
    points = [_points(problem, i, frontier) for i, frontier in enumerate(frontiers)]
    found, solves = shortlist(points), 0
    known = _selections(frontiers, found.answer)
    if known is None or not problem.met(known):
        start = nearest(problem)
        if not start.met:
            return start
        known, solves = start.selections, start.solves
        found = shortlist(points, start=[_no_worse(problem, i, p, known[i]) for i, p in enumerate(points)])
        improved = _selections(frontiers, found.answer)
        known = improved if improved is not None and problem.met(improved) else known
    if all(len(kept) == 1 for kept in found.kept):
        return Answer(known, True, solves)
    program = _Columns(points, found.kept)
    for attempt in range(1, ATTEMPTS + 1):
        best = [f.selection(i) for f, i in zip(frontiers, program.solve())]
        if problem.met(best):
            return Answer(best, True, solves + attempt)
        program.forbid()  # the solver's tolerance let it exceed a budget slightly
    return Answer(known, True, solves + ATTEMPTS)


def _points(problem: Problem, number: int, frontier: Frontier) -> Points:
    """The objective of a network's points, and their shares of the budgets."""
    demand = problem.demands[number]
    seconds, size = frontier.seconds * float(demand.load), frontier.bytes
    if problem.objective == ACCURACY:
        value = (1 - frontier.accuracy) * demand.weight
    else:
        value = seconds if problem.objective == TIME else size
    nothing = torch.zeros_like(value)
    memory = size / float(problem.memory_bytes) if problem.memory_bytes is not None else nothing
    time = seconds / float(problem.utilisation) if problem.utilisation is not None else nothing
    return Points(value, torch.stack([memory, time]))


def _no_worse(problem: Problem, number: int, points: Points, selection: Selection) -> int:
    """The best point that uses no more of any budget than a selection does; the index."""
    demand = problem.demands[number]
    memory, time = 0.0, 0.0
    if problem.memory_bytes is not None:
        memory = float(demand.figures.bytes(selection) / problem.memory_bytes)
    if problem.utilisation is not None:
        time = float(demand.load * demand.figures.seconds(selection) / problem.utilisation)
    limits = torch.tensor([[memory], [time]], dtype=torch.float64) * (1 + 1e-12)
    fits = (points.uses <= limits).all(0)
    return int(points.value.where(fits, torch.full_like(points.value, float("inf"))).argmin())


def _selections(frontiers: Sequence[Frontier], places: Optional[Sequence[int]]) -> Optional[List[Selection]]:
    return [f.selection(i) for f, i in zip(frontiers, places)] if places is not None else None


class _Columns:
    """The program: a binary for every point kept."""

    def __init__(self, points: Sequence[Points], kept: Sequence[Sequence[int]]) -> None:
        self.lp = pulp.LpProblem("points", pulp.LpMinimize)
        self.columns = [
            [(i, pulp.LpVariable(f"take_{n}_{i}", cat="Binary")) for i in row] for n, row in enumerate(kept)
        ]
        # Only differences count, and they are small: scaled, so that the solver's tolerance is relative to them.
        losses = [(p.value[row] - p.value[row].min()).tolist() for p, row in zip(points, map(list, kept))]
        unit = sum(max(row) for row in losses) or 1.0
        objective: Terms = {}
        budgets: List[Terms] = [{} for _ in points[0].uses]
        for network, row, loss in zip(points, self.columns, losses):
            self._row({x: 1.0 for _, x in row}, pulp.LpConstraintEQ, 1.0)
            objective.update({x: worse / unit for (_, x), worse in zip(row, loss)})
            for budget, uses in zip(budgets, network.uses[:, [i for i, _ in row]].tolist()):
                budget.update({x: use for (_, x), use in zip(row, uses)})
        for budget in filter(lambda terms: any(terms.values()), budgets):
            self._row(budget, pulp.LpConstraintLE, 1.0)
        self.lp.setObjective(pulp.LpAffineExpression(objective))

    def solve(self) -> List[int]:
        """The best points, one for each network. Raises `SolverError`."""
        solve(self.lp, lambda: all(len(row) == 1 for row in self._taken()))
        return [row[0][0] for row in self._taken()]

    def forbid(self) -> None:
        """Exclude the combination that was found."""
        self._row({x: 1.0 for row in self._taken() for _, x in row}, pulp.LpConstraintLE, len(self.columns) - 1)

    def _taken(self) -> List[List[Tuple[int, Any]]]:
        return [[(i, x) for i, x in row if is_taken(x)] for row in self.columns]

    def _row(self, terms: Terms, sense: int, limit: float) -> None:
        add_row(self.lp, terms, sense, limit)
