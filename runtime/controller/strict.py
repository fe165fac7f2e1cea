"""`Strictness`: getting to a choice without ever needing more memory than there is, not even during a switch."""

from __future__ import annotations

from typing import Dict, List, Optional, Tuple

from legodnn.runtime.controller.budget import Limits
from legodnn.runtime.controller.chooser import Chooser
from legodnn.runtime.controller.mover import Mover
from legodnn.runtime.optimizer import Choice

Reachable = Tuple[Choice, List[Dict[str, str]]]
"""A choice, and the selections to switch to one after the other to get there."""

_HALVINGS = 6
"""Choices that are tried, between none and the best, where there is no way to the best."""


class Strictness:
    """Finds choices that can be got to within a bound on memory."""

    def __init__(self, chooser: Chooser, mover: Mover) -> None:
        self._chooser, self._mover = chooser, mover

    def reachable(self, current: Choice, choice: Choice, limits: Limits, most: float) -> Optional[Reachable]:
        """The choice and how to get there from what runs within ``most`` bytes, or the largest smaller one.

        Smaller ones are within ``limits``, too. None where none can be got to; but where nothing runs yet, what is
        tried last is taken in any case, for else the teacher would run in the end, which needs more.
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
        passage = self._mover.passage(choice.selection, most)
        # What exceeds the budget already must go, by whatever way there is.
        exceeded = self._mover.runs and current.memory_bytes > most
        return passage.steps if exceeded or passage.peak_bytes <= most else None
