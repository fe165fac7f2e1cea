"""`Chooser`: the optimiser behind the calls that a controller makes."""

from __future__ import annotations

from typing import Mapping, Optional

from legodnn.runtime.controller.budget import Limits
from legodnn.runtime.optimizer import Choice, ScalingOptimizer
from legodnn.runtime.optimizer.figures import Figures
from legodnn.shared.errors import InfeasibleBudget

_ANY_ACCURACY = 1e-9
"""A required accuracy that every selection has, as minimising needs one."""


class Chooser:
    """Chooses the most accurate selection within limits, or the nearest one.

    Args:
        optimizer: the optimiser.
        strict: whether the limit on memory takes precedence where not both can be met.
    """

    def __init__(self, optimizer: ScalingOptimizer, strict: bool) -> None:
        self._optimizer, self._strict = optimizer, strict
        self._network = optimizer.network

    def describe(self, selection: Mapping[str, str], within_budget: bool = True) -> Choice:
        """All predictions about a selection."""
        figures = Figures(self._network, self._optimizer.count_activations)
        return figures.choice(dict(selection), within_budget, power=None)

    def within(self, limits: Limits) -> Optional[Choice]:
        """The most accurate selection within limits; None where there is none. Raises what the optimiser raises."""
        choice = self._choose(limits)
        return choice if choice.within_budget else None

    def nearest(self, limits: Limits) -> Choice:
        """The most accurate selection within limits, or the one that exceeds them by the least.

        Where memory takes precedence, it is the fastest one within the limit on memory, if there is one.
        """
        choice = self._choose(limits)
        too_large = limits.memory_bytes is not None and choice.memory_bytes > limits.memory_bytes
        if not (self._strict and too_large and limits.seconds is not None):
            return choice
        return self._fastest(limits) or choice

    def _choose(self, limits: Limits) -> Choice:
        try:
            return self._optimizer.choose(limits.seconds, limits.memory_bytes)
        except InfeasibleBudget as refusal:
            return self.describe(refusal.closest, within_budget=False)

    def _fastest(self, limits: Limits) -> Optional[Choice]:
        try:
            found = self._optimizer.choose(None, limits.memory_bytes, accuracy=_ANY_ACCURACY, minimise="time")
        except InfeasibleBudget:
            return None
        return self.describe(found.selection, within_budget=False) if found.within_budget else None
