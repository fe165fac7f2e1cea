"""The integer program of a problem (Han et al., MobiCom 2021): a binary for every variant, exactly one per block.

The bounds are rows. Unless a feasible selection is known, a further binary relaxes them at a price above any gain, so
that one solve also finds that a problem is infeasible, and the nearest selections. Rows and objective are scaled by the
largest value of their sums, so that coefficients are between 0 and 1 for any budget.

Presolve drops what cannot change the answer: dominated variants, bounds that nothing exceeds, and activation peaks
below the least one of any selection.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Dict, List, Optional, Sequence, Tuple

import pulp

from legodnn.runtime.optimizer.figures import Measure, Option, Selection
from legodnn.runtime.optimizer.pareto import unbeaten
from legodnn.runtime.optimizer.problem import ACCURACY, MEMORY, NEAREST, TIME, Demand, Problem
from legodnn.runtime.optimizer.solver import solve

_LIFTING = 10.0
"""Price of relaxing the bounds: above the objective, which is at most about 1."""

_OVER = 100.0
"""Price of the relative excess over a bound: outweighs the objective where bounds are relaxed."""

_AGAIN = 1e4
"""Price of repeating a forbidden answer: above all others."""

_SLIGHTLY = 1e-6
"""Weight of the second objective, which breaks ties only."""

Terms = Dict[Any, float]
"""A linear expression: coefficients by variable."""


class Member:
    """One network's part of the program: its columns and their linear expressions."""

    def __init__(self, number: int, demand: Demand, timed: bool, sized: bool) -> None:
        self.demand, self.figures = demand, demand.figures
        self.number = number
        self.lowest_peak = self.figures.lowest_peak()
        self.take: List[Tuple[str, List[Tuple[Option, Any]]]] = []
        for i, (name, options) in enumerate(self.figures.blocks):
            kept = undominated(options, self.lowest_peak, timed, sized)
            columns = [(o, pulp.LpVariable(f"take_{number}_{i}_{j}", cat="Binary")) for j, o in enumerate(kept)]
            self.take.append((name, columns))

    def terms(self, measure: Measure, unit: float) -> Terms:
        """A measure of the selection, in a unit."""
        return {x: measure(o) / unit for _, columns in self.take for o, x in columns}

    def most(self, measure: Measure) -> float:
        """The largest value of a measure over selections."""
        return float(sum(max(measure(o) for o, _ in columns) for _, columns in self.take))

    def selection(self) -> Optional[Selection]:
        """The selection of the solved columns; None unless every block has exactly one variant."""
        chosen = {name: [o.variant for o, x in columns if is_taken(x)] for name, columns in self.take}
        if any(len(variants) != 1 for variants in chosen.values()):
            return None
        return {name: variants[0] for name, variants in chosen.items()}

    def taken(self) -> List[Any]:
        """The columns that the solver set."""
        return [x for _, columns in self.take for _, x in columns if is_taken(x)]


class Program:
    """The program of a problem.

    Args:
        problem: the bounds and the objective.
        feasible: whether a selection within the bounds is known.
    """

    def __init__(self, problem: Problem, feasible: bool) -> None:
        self.problem = problem
        self.lp = pulp.LpProblem("selections", pulp.LpMinimize)
        self.forbidden = 0
        self.objective: Terms = {}
        self.elastic, self.lifted = not feasible, None
        if self.elastic and problem.objective != NEAREST:
            self.lifted = self._pay(pulp.LpVariable("lifted", cat="Binary"), _LIFTING)
        shared_time = problem.utilisation is not None or problem.objective == TIME
        sized = problem.memory_bytes is not None or problem.objective == MEMORY
        self.members = [
            Member(n, d, shared_time or d.seconds is not None, sized) for n, d in enumerate(problem.demands)
        ]
        for member in self.members:
            for _, columns in member.take:
                self._row({x: 1.0 for _, x in columns}, pulp.LpConstraintEQ, 1.0)
            self._bound_member(member)
        self._bound_memory()
        self._bound_time()
        if problem.objective == ACCURACY:
            self._price_costs()
        if problem.objective != NEAREST:
            self._price_ties()
        self.lp.setObjective(pulp.LpAffineExpression(self.objective))

    def solve(self) -> List[Selection]:
        """The best selections, one for each network. Raises `SolverError`."""
        solve(self.lp, lambda: all(m.selection() is not None for m in self.members), heuristics=False)
        return [m.selection() or {} for m in self.members]

    def forbid(self) -> None:
        """Exclude the selections that were found, unless there are no others."""
        taken = [x for member in self.members for x in member.taken()]
        terms = {x: 1.0 for x in taken}
        if self.elastic:
            terms[self._pay(pulp.LpVariable(f"again_{self.forbidden}", cat="Binary"), _AGAIN)] = -1.0
        self.forbidden += 1
        self._row(terms, pulp.LpConstraintLE, len(taken) - 1)
        self.lp.setObjective(pulp.LpAffineExpression(self.objective))

    # ---- rows -------------------------------------------------------------------------------------------------------
    def _row(self, terms: Terms, sense: int, limit: float) -> None:
        add_row(self.lp, terms, sense, limit)

    def _pay(self, variable: Any, price: float) -> Any:
        self.objective[variable] = self.objective.get(variable, 0.0) + price
        return variable

    def _bound(self, name: str, terms: Terms, fixed: Fraction, limit: Fraction, most: Fraction) -> None:
        """Bound terms, in units of ``most``, plus a constant ``fixed`` by a limit."""
        limit = max(Fraction(0), limit)
        if most <= limit:
            return
        terms = dict(terms)
        if self.elastic:
            excess = self._pay(pulp.LpVariable(f"over_{name}", lowBound=0), _OVER)
            terms[excess] = -1.0
            if self.lifted is not None:
                self._row({excess: 1.0, self.lifted: -1.0}, pulp.LpConstraintLE, 0.0)
        self._row(terms, pulp.LpConstraintLE, float((limit - fixed) / most))

    def _bound_member(self, member: Member) -> None:
        """A network's own bounds: on seconds, and on accuracy through its sum of costs."""
        demand, figures = member.demand, member.figures
        if demand.seconds is not None:
            base, measure = Fraction(figures.base_seconds), _seconds
            most = base + Fraction(member.most(measure))
            self._bound(f"seconds_{member.number}", member.terms(measure, float(most)), base, demand.seconds, most)
        most_cost = demand.most_cost
        if most_cost is not None:
            fixed = Fraction(figures.trunk_cost)
            most = fixed + Fraction(member.most(_cost))
            terms = member.terms(_cost, float(most) or 1.0)
            self._bound(f"cost_{member.number}", terms, fixed, most_cost, most)

    def _bound_memory(self) -> None:
        """The bound on the networks' bytes together, or the objective."""
        limit, wanted = self.problem.memory_bytes, self.problem.objective == MEMORY
        most = sum(m.figures.most_bytes() for m in self.members)
        if not wanted and (limit is None or limit >= most):
            return
        terms = self._sizes(most)
        if limit is not None:
            fixed = sum(m.figures.trunk_bytes for m in self.members)
            self._bound("bytes", terms, Fraction(fixed), limit, Fraction(most))
        self._add_to_objective(terms, wanted)

    def _bound_time(self) -> None:
        """The bound on the networks' utilisation together, or the objective."""
        limit, wanted = self.problem.utilisation, self.problem.objective == TIME
        if not wanted and limit is None:
            return
        base, most = Fraction(0), Fraction(0)
        for member in self.members:
            base += member.demand.load * Fraction(member.figures.base_seconds)
            most += member.demand.load * Fraction(member.most(_seconds))
        most += base
        terms: Terms = {}
        for member in self.members:
            terms.update(member.terms(_seconds, (float(most) or 1.0) / float(member.demand.load)))
        if limit is not None:
            self._bound("utilisation", terms, base, limit, most)
        self._add_to_objective(terms, wanted)

    def _sizes(self, most: int) -> Terms:
        """Weights, plus a variable per network that bounds its activation peak from above."""
        terms: Terms = {}
        for member in self.members:
            terms.update(member.terms(lambda o: o.weight_bytes, most))
            lowest = member.lowest_peak
            peak = pulp.LpVariable(f"peak_{member.number}", lowBound=lowest / most)
            terms[peak] = 1.0
            for _, columns in member.take:
                above = {x: -max(o.peak_bytes, lowest) / most for o, x in columns}
                if any(o.peak_bytes > lowest for o, _ in columns):
                    self._row({peak: 1.0, **above}, pulp.LpConstraintGE, 0.0)
        return terms

    # ---- the objective ----------------------------------------------------------------------------------------------
    def _add_to_objective(self, terms: Terms, wanted: bool) -> None:
        for variable, price in terms.items() if wanted else ():
            self._pay(variable, price)

    def _price_costs(self) -> None:
        """Minimise the sum of costs, since the predicted accuracy never rises with it."""
        total = sum(m.most(_cost) for m in self.members) or 1.0
        for member in self.members:
            self._add_to_objective(member.terms(_cost, total), True)

    def _price_ties(self) -> None:
        """Break ties: by weights for the objective accuracy, by costs for the others."""
        by_size = self.problem.objective == ACCURACY
        measure: Measure = (lambda o: o.weight_bytes) if by_size else _cost
        total = sum(m.most(measure) for m in self.members) or 1.0
        for member in self.members:
            self._add_to_objective(member.terms(measure, total / _SLIGHTLY), True)


def undominated(options: Sequence[Option], lowest_peak: int, timed: bool, sized: bool) -> List[Option]:
    """The non-dominated options of a block in the figures that matter; the smaller one of equals."""
    figures = [
        (o.cost, o.seconds * timed, o.weight_bytes * sized, max(o.peak_bytes, lowest_peak) * sized) for o in options
    ]
    by_size = sorted(range(len(options)), key=lambda i: options[i].weight_bytes)
    kept = unbeaten([figures[i] for i in by_size])
    return [options[i] for i in sorted(by_size[place] for place in kept)]


def add_row(lp: Any, terms: Terms, sense: int, limit: float) -> None:
    """Add a row to a PuLP program; ``sense`` is PuLP's."""
    lp.addConstraint(pulp.LpConstraint(pulp.LpAffineExpression(terms), sense, rhs=limit))


def is_taken(variable: Any) -> bool:
    """Whether a solved binary is set."""
    return (variable.value() or 0.0) > 0.5


def _seconds(option: Option) -> float:
    return option.seconds


def _cost(option: Option) -> float:
    return option.cost
