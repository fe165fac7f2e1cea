"""The points of several networks' frontiers that can be in the best answer.

Prices of memory and of the cores' time (Lagrange multipliers) decouple the networks, and give a lower bound on the
objective. A feasible answer is improved step by step; a point is dropped if every answer with it is worse than that
one. Both are exact up to rounding, for which there is a margin.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import List, Optional, Sequence, Tuple

import torch
from torch import Tensor

_ROUNDING = 1e-9
"""The margin for rounding, relative to the span of the objective; far above the errors of sums of doubles."""

_CUTS = 60
"""Cutting planes at most: each leaves less than two thirds of the area, so 60 leave less than 1e-10 of it."""

_FIRST_GUESS, _LAST_GUESS = 8.0, 1e8
"""Bounds for the search of prices, relative to the span of the objective; not tuned."""

Price = Tuple[float, float]
"""Prices of the whole memory budget and of the whole time budget."""


@dataclass(frozen=True)
class Points:
    """A network's points: ``value`` (n,) is the objective, the less the better; ``uses`` (2, n) the shares of the
    memory
    and time budgets, whose sums over networks may be at most 1. Both float64.
    """

    value: Tensor
    uses: Tensor


@dataclass(frozen=True)
class Shortlist:
    """For every network the points that can be in the best answer, and a feasible answer; None where none was found."""

    kept: List[List[int]]
    answer: Optional[List[int]]


def shortlist(networks: Sequence[Points], start: Optional[Sequence[int]] = None) -> Shortlist:
    """Drop points that cannot be in the best answer; ``start`` is a feasible answer, if one is known."""
    search = _Search(networks)
    if start is not None:
        search.answer = torch.tensor(start)
        search.worth = search.value_of(search.answer)
    search.find_prices()
    if search.answer is None:
        return Shortlist([list(range(len(n.value))) for n in networks], None)
    search.improve(search.answer)
    return Shortlist(search.kept(), search.answer.tolist())


class _Search:
    """All networks' points, padded to one length, with the best bound and the best answer so far."""

    def __init__(self, networks: Sequence[Points]) -> None:
        self.lengths = [len(n.value) for n in networks]
        longest = max(self.lengths)
        self.value = torch.full((len(networks), longest), math.inf, dtype=torch.float64)
        self.uses = torch.zeros(2, len(networks), longest, dtype=torch.float64)
        for i, points in enumerate(networks):
            self.value[i, : self.lengths[i]] = points.value
            self.uses[:, i, : self.lengths[i]] = points.uses
        least, most = (sum(float(end(n.value)) for n in networks) for end in (torch.min, torch.max))
        self.span, self.worst = (most - least) or 1.0, most
        self.bound, self.prices = -math.inf, (0.0, 0.0)
        self.answer: Optional[Tensor] = None
        self.worth = math.inf
        self.rows = torch.arange(len(networks))

    def value_of(self, answer: Tensor) -> float:
        """The objective of an answer."""
        return float(self.value[self.rows, answer].sum())

    @property
    def hopeless(self) -> bool:
        """Whether the bound exceeds the worst objective: then nothing fits."""
        return self.bound > self.worst + _ROUNDING * self.span

    def _priced(self, prices: Price) -> Tensor:
        priced = self.value
        for price, use in zip(prices, self.uses):
            priced = priced + price * use if price else priced
        return priced

    def _try(self, prices: Price) -> Tuple[float, Price]:
        """Take every network's best point at some prices; returns the bound, which is noted, and its gradient."""
        best, points = self._priced(prices).min(1)
        bound = float(best.sum()) - sum(prices)
        if bound > self.bound:
            self.bound, self.prices = bound, prices
        memory, time = self.uses[:, self.rows, points].sum(1).tolist()
        if memory <= 1 and time <= 1 and self.value_of(points) < self.worth:
            self.worth, self.answer = self.value_of(points), points
        return bound, (memory - 1, time - 1)

    def find_prices(self) -> None:
        """Find the prices with the highest bound, by cutting planes through the centre of gravity.

        The bound is a concave function of the prices, and its gradient is the use beyond the budgets. Every cut leaves
        less than two thirds of the area.
        """
        most = _FIRST_GUESS * self.span
        while True:
            area: List[Price] = [(0.0, 0.0), (most, 0.0), (most, most), (0.0, most)]
            for _ in range(_CUTS):
                centre = _centre(area)
                bound, slope = self._try(centre)
                area = _cut(area, centre, slope, self.bound - bound)
                if len(area) < 3:
                    break
            if max(self.prices) < 0.9 * most or most > _LAST_GUESS * self.span or self.hopeless:
                break
            most *= 100
        for zero in ((self.prices[0], 0.0), (0.0, self.prices[1]), (0.0, 0.0)):
            self._try(zero)
        prices = self.prices
        while self.answer is None and max(prices) < _LAST_GUESS * self.span and not self.hopeless:
            prices = (2 * max(prices[0], 1e-3 * self.span), 2 * max(prices[1], 1e-3 * self.span))
            self._try(prices)

    def improve(self, answer: Tensor) -> None:
        """Improve a feasible answer by the best change of one network's point, until none improves it."""
        nothing = torch.full_like(self.value, -math.inf)
        while True:
            now = self.uses[:, self.rows, answer]
            left = 1 - now.sum(1)
            fits = (self.uses - now[:, :, None] <= left[:, None, None]).all(0)
            gain = (self.value[self.rows, answer][:, None] - self.value).where(fits, nothing)
            network, point = divmod(int(gain.argmax()), gain.shape[1])
            if float(gain[network, point]) <= _ROUNDING * self.span:
                break
            answer = answer.clone()
            answer[network] = point
        self.answer, self.worth = answer, self.value_of(answer)

    def kept(self) -> List[List[int]]:
        """The points whose priced value is above their network's best by no more than the gap of answer and bound."""
        priced = self._priced(self.prices)
        slack = max(0.0, self.worth - self.bound) + _ROUNDING * self.span
        within = priced - priced.amin(1, keepdim=True) <= slack
        return [row[:length].nonzero().flatten().tolist() for row, length in zip(within, self.lengths)]


def _centre(area: Sequence[Price]) -> Price:
    """The centre of gravity of a convex polygon."""
    (x0, y0), total, x, y = area[0], 0.0, 0.0, 0.0
    for (x1, y1), (x2, y2) in zip(area[1:], area[2:]):
        size = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        total, x, y = total + size, x + size * (x1 + x2 - 2 * x0), y + size * (y1 + y2 - 2 * y0)
    return (x0 + x / (3 * total), y0 + y / (3 * total)) if total else (x0, y0)


def _cut(area: Sequence[Price], centre: Price, slope: Price, least: float) -> List[Price]:
    """The part of a convex polygon where a linear function with this slope, 0 at the centre, is at least ``least``."""
    heights = [slope[0] * (x - centre[0]) + slope[1] * (y - centre[1]) - least for x, y in area]
    kept: List[Price] = []
    for i, (point, height) in enumerate(zip(area, heights)):
        before, lower = area[i - 1], heights[i - 1]
        if (height < 0) != (lower < 0):
            share = lower / (lower - height)
            kept.append((before[0] + share * (point[0] - before[0]), before[1] + share * (point[1] - before[1])))
        if height >= 0:
            kept.append(point)
    return kept
