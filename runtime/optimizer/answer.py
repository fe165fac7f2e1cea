"""The answer to a problem: the solver's, checked in exact arithmetic."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import List, Optional

from legodnn.runtime.optimizer.figures import Selection
from legodnn.runtime.optimizer.problem import NEAREST, Problem
from legodnn.runtime.optimizer.program import Program

TOLERANCE = 1e-6
"""Relative tolerance of a bound: the solver may exceed one by that much, since CBC's own tolerance is 1e-7 to 1e-6."""

ATTEMPTS = 3
"""Solves per problem at most, after answers that exceed a bound within the tolerance; not tuned."""


@dataclass(frozen=True)
class Answer:
    """The best selections, one per network; ``met`` is False for the nearest ones where the bounds cannot be met.

    ``solves`` counts the runs of the solver.
    """

    selections: List[Selection]
    met: bool
    solves: int


def answer(problem: Problem) -> Answer:
    """The answer to a problem of one network. Raises `SolverError` where no solver could be used."""
    ideal = problem.unbounded_best()
    if problem.met(ideal):
        return Answer(ideal, True, 0)
    return _solved(problem, next((s for s in problem.economical() if problem.met(s)), None))


def nearest(problem: Problem) -> Answer:
    """Any selections that meet the bounds, or those that miss them least. Raises `SolverError`."""
    return _solved(replace(problem, objective=NEAREST), None)


def _solved(problem: Problem, known: Optional[List[Selection]]) -> Answer:
    """The solver's answer; ``known`` is a feasible one, if known."""
    program = Program(problem, feasible=known is not None)
    for attempt in range(1, ATTEMPTS + 1):
        found = program.solve()
        if problem.met(found):
            return Answer(found, True, attempt)
        if known is None and not problem.nearly_met(found, TOLERANCE):
            return Answer(found, False, attempt)
        program.forbid()
    return Answer(found, False, ATTEMPTS) if known is None else Answer(known, True, ATTEMPTS)
