"""`Strictness`: reaches choices without exceeding a memory budget, not even during a switch."""

from __future__ import annotations

from typing import Dict, List, Optional, Tuple

from legodnn.runtime.controller.budget import Limits
from legodnn.runtime.controller.chooser import Chooser
from legodnn.runtime.controller.mover import Mover
from legodnn.runtime.optimizer import Choice

Reachable = Tuple[Choice, List[Dict[str, str]]]
"""A choice, and the selections to switch to in turn, the last being its own."""

_HALVINGS = 6
"""Bisection steps for the largest reachable choice where the best is not: to 1/64 of its bytes; not tuned."""


class Strictness:
    """Finds choices that are reachable within a bound on memory."""

    def __init__(self, chooser: Chooser, mover: Mover) -> None:
        self._chooser, self._mover = chooser, mover

    def reachable(self, current: Choice, choice: Choice, limits: Limits, most: float) -> Optional[Reachable]:
        """The choice and the switches to it from ``current`` within ``most`` bytes, or the largest smaller choice.

        Smaller ones are within ``limits``, too. None where none is reachable; but before the first composition the
        smallest one tried is returned in any case, since otherwise the teacher would run, which needs more.
        """
        steps = self._steps(current, choice, most)
        if steps is not None:
            return choice, steps
        low, high, found, tried = 0.0, float(choice.memory_bytes), None, choice
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            smaller = self._chooser.within(Limits(limits.seconds, middle))
            steps = self._steps(current, smaller, most) if smaller is not None else None
            if smaller is not None and steps is None:
                high, tried = middle, smaller
                continue
            low = middle
            if smaller is not None and steps is not None:
                found = smaller, steps
        if found is None and not self._mover.runs:
            return tried, [tried.selection]
        return found

    def _steps(self, current: Choice, choice: Choice, most: float) -> Optional[List[Dict[str, str]]]:
        plan = self._mover.plan(choice.selection, most)
        # A selection that exceeds the budget already must be replaced, by any plan.
        exceeded = self._mover.runs and current.memory_bytes > most
        return plan.steps if exceeded or plan.peak_bytes <= most else None
