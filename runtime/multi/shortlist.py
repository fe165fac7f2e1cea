"""Which points of several networks' frontiers can be in the best answer at all.

Memory and the cores' time get prices (Lagrange multipliers): with them every network can be looked at alone, and what
the best answer is worth has a bound. An answer within the budgets is improved step by step; a point is left out when
taking it would make an answer worse than that one. Both are exact but for rounding, which is allowed for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import List, Optional, Sequence, Tuple

import torch
from torch import Tensor

_ROUNDING = 1e-9
_CUTS = 60
_FIRST_GUESS, _LAST_GUESS = 8.0, 1e8

Price = Tuple[float, float]
"""Of all the memory, and of all the time, that there is."""


@dataclass(frozen=True)
class Points:
    """What the points of a network are worth (the less the better) and use, as one-dimensional tensors of doubles.

    ``uses`` has a row for memory and one for time, in units of what there is: the networks' uses may add up to 1.
    """

    value: Tensor
    uses: Tensor


@dataclass(frozen=True)
class Shortlist:
    """For every network the points that can be in the best answer, and one answer, None where none was found."""

    kept: List[List[int]]
    answer: Optional[List[int]]


def shortlist(networks: Sequence[Points], start: Optional[Sequence[int]] = None) -> Shortlist:
    """Leave out what cannot be in the best answer; ``start`` is an answer, where one is known."""
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
    """The networks' points side by side, the best bound and the best answer so far."""

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
        """What an answer is worth."""
        return float(self.value[self.rows, answer].sum())

    @property
    def hopeless(self) -> bool:
        """Whether any answer would have to be worse than the worst there is: nothing fits."""
        return self.bound > self.worst + _ROUNDING * self.span

    def _priced(self, prices: Price) -> Tensor:
        priced = self.value
        for price, use in zip(prices, self.uses):
            priced = priced + price * use if price else priced
        return priced

    def _try(self, prices: Price) -> Tuple[float, Price]:
        """Take every network's best point at some prices; note and return the bound, and return its slope."""
        best, points = self._priced(prices).min(1)
        bound = float(best.sum()) - sum(prices)
        if bound > self.bound:
            self.bound, self.prices = bound, prices
        memory, time = self.uses[:, self.rows, points].sum(1).tolist()
        if memory <= 1 and time <= 1 and self.value_of(points) < self.worth:
            self.worth, self.answer = self.value_of(points), points
        return bound, (memory - 1, time - 1)

    def find_prices(self) -> None:
        """The prices with the highest bound, by cutting off, again and again, the half where it cannot be.

        The bound is a concave function of the prices: what is used beyond a budget is its slope. Every cut through the
        centre of gravity leaves less than two thirds of the area.
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
        """Change one network's point at a time as long as that makes a better answer within the budgets."""
        nothing = torch.full_like(self.value, -math.inf)
        while True:
            now = self.uses[:, self.rows, answer]
            room = 1 - now.sum(1)
            fits = (self.uses - now[:, :, None] <= room[:, None, None]).all(0)
            gain = (self.value[self.rows, answer][:, None] - self.value).where(fits, nothing)
            network, point = divmod(int(gain.argmax()), gain.shape[1])
            if float(gain[network, point]) <= _ROUNDING * self.span:
                break
            answer = answer.clone()
            answer[network] = point
        self.answer, self.worth = answer, self.value_of(answer)

    def kept(self) -> List[List[int]]:
        """The points whose price above their network's best is within what separates bound and answer."""
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
    """The part of a convex polygon where going along the slope from the centre gains at least so much."""
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
