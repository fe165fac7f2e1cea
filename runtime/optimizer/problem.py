"""`Problem`: bounds and objective for one network or several, checked in exact arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Iterator, List, Optional, Sequence, Tuple

from legodnn.runtime.optimizer.curve import most_cost
from legodnn.runtime.optimizer.figures import Figures, Measure, Selection

ACCURACY, TIME, MEMORY, NEAREST = "accuracy", "time", "memory", "nearest"

Selections = Sequence[Selection]
"""One for each network."""

_PRICES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Weights of time against memory tried by `Problem.economical`; not tuned."""


@dataclass(frozen=True)
class Demand:
    """The bounds on one network.

    Its inferences take at most ``seconds``, its predicted accuracy is at least ``accuracy``; ``weight`` is that of its
    accuracy in the sum over networks, ``load`` the utilisation per second of an inference.
    """

    figures: Figures
    seconds: Optional[Fraction] = None
    accuracy: Optional[float] = None
    weight: float = 1.0
    load: Fraction = Fraction(1)

    @property
    def most_cost(self) -> Optional[Fraction]:
        """The bound on the sum of costs for the required accuracy; None for no bound."""
        return most_cost(self.figures.manifest.predictor, self.accuracy) if self.accuracy is not None else None

    def meets(self, selection: Selection) -> bool:
        """Whether a selection is within the bounds on seconds and accuracy."""
        if self.accuracy is not None and self.figures.accuracy(selection) < self.accuracy:
            return False
        return self.seconds is None or self.figures.seconds(selection) <= self.seconds


@dataclass(frozen=True)
class Problem:
    """Bounds on networks that share memory and cores, and an objective.

    ``memory_bytes`` bounds the sum of the networks' bytes, ``utilisation`` the sum of load times seconds. The
    ``objective`` is to maximise the weighted sum of accuracies, to minimise time (of the cores) or memory, or only to
    exceed the bounds least (`NEAREST`).
    """

    demands: Tuple[Demand, ...]
    memory_bytes: Optional[Fraction] = None
    utilisation: Optional[Fraction] = None
    objective: str = ACCURACY

    # ---- exact checks -----------------------------------------------------------------------------------------------
    def bytes(self, selections: Selections) -> int:
        """Bytes of the networks together: weights and activations of each, since they may run at the same time."""
        return sum(d.figures.bytes(s) for d, s in zip(self.demands, selections))

    def used(self, selections: Selections) -> Fraction:
        """The utilisation."""
        return sum((d.load * d.figures.seconds(s) for d, s in zip(self.demands, selections)), Fraction(0))

    def met(self, selections: Selections) -> bool:
        """Whether selections are within all bounds."""
        return (
            all(d.meets(s) for d, s in zip(self.demands, selections))
            and (self.memory_bytes is None or self.bytes(selections) <= self.memory_bytes)
            and (self.utilisation is None or self.used(selections) <= self.utilisation)
        )

    def nearly_met(self, selections: Selections, tolerance: float) -> bool:
        """Whether no bound is exceeded by more than ``tolerance`` times the largest value of its sum."""
        used, bytes_, share = Fraction(0), 0, Fraction(tolerance)
        for demand, selection in zip(self.demands, selections):
            figures, most_cost = demand.figures, demand.most_cost
            most = Fraction(figures.base_seconds) + Fraction(figures.most(lambda o: o.seconds))
            used += demand.load * most
            bytes_ += figures.most_bytes()
            if demand.seconds is not None and figures.seconds(selection) > demand.seconds + share * most:
                return False
            slack = share * Fraction(figures.trunk_cost + figures.most(lambda o: o.cost))
            if most_cost is not None and figures.cost(selection) > most_cost + slack:
                return False
        return (self.memory_bytes is None or self.bytes(selections) <= self.memory_bytes + share * bytes_) and (
            self.utilisation is None or self.used(selections) <= self.utilisation + share * used
        )

    # ---- answers without a solver -----------------------------------------------------------------------------------
    def unbounded_best(self) -> List[Selection]:
        """The best selections without bounds; the answer, if they are within the bounds."""
        figures = [d.figures for d in self.demands]
        if self.objective == ACCURACY:
            return [f.least(lambda o: o.cost) for f in figures]
        if self.objective == TIME:
            return [f.fastest() for f in figures]
        return [f.smallest() for f in figures]

    def economical(self) -> Iterator[List[Selection]]:
        """Selections with small needs: the best ones for some prices of time, memory and accuracy."""
        for of_cost in (0.0, 0.1, 0.5):
            for of_time in _PRICES:
                yield [d.figures.least(_price(d.figures, of_time, of_cost)) for d in self.demands]


def _price(figures: Figures, of_time: float, of_cost: float) -> Measure:
    options = [o for _, row in figures.blocks for o in row]
    seconds = of_time / (max((o.seconds for o in options), default=0.0) or 1.0)
    size = (1 - of_time) / max([1, *(o.weight_bytes + o.peak_bytes for o in options)])
    cost = of_cost / (max((o.cost for o in options), default=0.0) or 1.0)
    return lambda o: seconds * o.seconds + size * (o.weight_bytes + o.peak_bytes) + cost * o.cost
