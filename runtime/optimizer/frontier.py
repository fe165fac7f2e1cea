"""`Frontier`: the Pareto front of a network's selections over time, memory and accuracy.

Dynamic programming: block by block, partial selections are extended by every variant, and those dominated in cost,
seconds, weights and activation peak are dropped, since no extension makes up for it. Sums are exact: floating-point
numbers are integers as multiples of one power of two.
"""

from __future__ import annotations

import math
from array import array
from fractions import Fraction
from typing import List, Optional, Sequence, Tuple

import torch
from torch import Tensor

from legodnn.runtime.optimizer.choice import Choice
from legodnn.runtime.optimizer.curve import most_cost
from legodnn.runtime.optimizer.figures import Figures, Option, Selection
from legodnn.runtime.optimizer.pareto import Front, unbeaten
from legodnn.runtime.optimizer.power import Power

Label = Tuple[int, int, int, int, int, int]
"""Cost, seconds, bytes of weights and peak of a partial selection; its last block's option, and what it extends."""

Step = Tuple[int, int, int, int]

_ROUNDING = 1e-12
"""Accuracies nearer than this are compared by their exact predictions."""


class Frontier:
    """The non-dominated selections of a network, one for each combination of time, memory and accuracy.

    ``seconds``, ``bytes`` and ``accuracy`` are float64 tensors (n,).

    Args:
        figures: the network's figures.
        seconds: the most per inference; None for no limit.
        accuracy: the least predicted accuracy; None for no limit.
    """

    def __init__(self, figures: Figures, seconds: Optional[Fraction] = None, accuracy: Optional[float] = None) -> None:
        self.figures = figures
        # Blocks that save time for few bytes come first, which keeps partial selections few.
        self._blocks = sorted(figures.blocks, key=_time_for_size)
        options = [o for _, row in self._blocks for o in row]
        self._cost_unit = _unit([figures.trunk_cost, *(o.cost for o in options)])
        self._time_unit = _unit([figures.base_seconds, *(o.seconds for o in options)])
        bound = most_cost(figures.manifest.predictor, accuracy) if accuracy is not None else None
        self._origins: List[Tuple[array[int], array[int]]] = []
        ends = self._extend(
            math.inf if bound is None else math.floor(bound * self._cost_unit),
            math.inf if seconds is None else math.floor(seconds * self._time_unit),
        )
        predict = figures.manifest.predictor.accuracy
        reached = [predict(label[0] / self._cost_unit) for label in ends]
        places = unbeaten([(-a, end[1], end[2] + end[3], 0) for a, end in zip(reached, ends)])
        self._places = [i for i in places if accuracy is None or self._reaches(i, reached[i], accuracy)]
        self.seconds = _tensor([ends[i][1] / self._time_unit for i in self._places])
        self.bytes = _tensor([ends[i][2] + ends[i][3] for i in self._places])
        self.accuracy = _tensor([reached[i] for i in self._places])

    def _extend(self, cost_limit: float, time_limit: float) -> List[Label]:
        """The non-dominated labels of whole selections within limits.

        ``_origins`` gets, for every block, each label's option and the label it extends.
        """
        figures, lowest = self.figures, self.figures.lowest_peak()
        start: Label = (
            _whole(figures.trunk_cost, self._cost_unit),
            _whole(figures.base_seconds, self._time_unit),
            figures.trunk_bytes,
            lowest,
            0,
            0,
        )
        rows = [
            [
                (
                    _whole(o.cost, self._cost_unit),
                    _whole(o.seconds, self._time_unit),
                    o.weight_bytes,
                    max(o.peak_bytes, lowest),
                )
                for o in options
            ]
            for _, options in self._blocks
        ]
        left = (cost_limit - sum(min(r)[0] for r in rows), time_limit - sum(min(s for _, s, _, _ in r) for r in rows))
        labels = [start]
        for number, steps in enumerate(rows, 1):
            left = (left[0] + min(steps)[0], left[1] + min(s for _, s, _, _ in steps))
            labels = _survivors(_extended(labels, steps, *left), last=number == len(rows))
            self._origins.append(
                (array("l", [label[4] for label in labels]), array("l", [label[5] for label in labels]))
            )
        return labels

    def __len__(self) -> int:
        return len(self._places)

    def selection(self, point: int) -> Selection:
        """The selection at a point."""
        return self._trace(self._places[point])

    def _trace(self, end: int) -> Selection:
        selection: Selection = {}
        for (name, options), (taken, extended) in zip(reversed(self._blocks), reversed(self._origins)):
            selection[name] = options[taken[end]].variant
            end = extended[end]
        return {name: selection[name] for name, _ in self.figures.blocks}

    def _reaches(self, end: int, predicted: float, accuracy: float) -> bool:
        if abs(predicted - accuracy) > _ROUNDING:
            return predicted > accuracy
        return self.figures.accuracy(self._trace(end)) >= accuracy  # with the rounding of reported predictions

    def choices(self, power: Optional[Power]) -> List[Choice]:
        """All points, by seconds and then bytes; without measured latencies, by bytes."""
        choices = [self.figures.choice(self.selection(i), True, power) for i in range(len(self))]
        # Rounded predictions may have become equal.
        kept = unbeaten([(-c.accuracy, c.seconds or 0.0, c.memory_bytes, 0) for c in choices])
        return sorted((choices[i] for i in kept), key=lambda c: (c.seconds or 0.0, c.memory_bytes))


def _extended(labels: Sequence[Label], steps: Sequence[Step], cost_limit: float, time_limit: float) -> List[Label]:
    """All labels with all steps added that stay within limits, sorted."""
    longer: List[Label] = []
    for option, (cost, seconds, size, peak) in enumerate(steps):
        cost_before, seconds_before = cost_limit - cost, time_limit - seconds
        longer += [
            (c + cost, s + seconds, w + size, p if p > peak else peak, option, i)
            for i, (c, s, w, p, _, _) in enumerate(labels)
            if c <= cost_before and s <= seconds_before
        ]
    longer.sort()
    return longer


def _survivors(labels: Sequence[Label], last: bool) -> List[Label]:
    """The non-dominated labels; after the last block weights and peak count as their sum."""
    front = Front()
    if last:
        return [label for label in labels if front.takes(label[1], label[2] + label[3], 0)]
    return [label for label in labels if front.takes(label[1], label[2], label[3])]


def _time_for_size(block: Tuple[str, Sequence[Option]]) -> float:
    """The range of seconds of a block's variants over their range of bytes."""
    seconds = [o.seconds for o in block[1]]
    sizes = [o.weight_bytes for o in block[1]]
    return (max(seconds) - min(seconds)) / (1 + max(sizes) - min(sizes))


def _tensor(numbers: Sequence[float]) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def _unit(values: Sequence[float]) -> int:
    """The power of two that makes all values integers when they are multiplied by it."""
    return max((float(v).as_integer_ratio()[1] for v in values), default=1)


def _whole(value: float, unit: int) -> int:
    numerator, denominator = float(value).as_integer_ratio()
    return numerator * (unit // denominator)
