"""Where the parts of a chart lie: two axes, lines, bands and points. `templates/chart.svg.j2` draws them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Place = tuple[float, float]

_SHAPES: dict[str, Sequence[Place]] = {
    "square": ((-1, -1), (1, -1), (1, 1), (-1, 1)),
    "diamond": ((0, -1.35), (1.35, 0), (0, 1.35), (-1.35, 0)),
    "triangle": ((0, -1.3), (1.25, 1), (-1.25, 1)),
    "star": tuple(
        (r * math.sin(math.pi * i / 5), -r * math.cos(math.pi * i / 5))
        for i, r in enumerate((1.9, 0.8) * 5)
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Axis:
    """A linear axis from ``low`` to ``high`` with labelled ticks."""

    label: str
    low: float
    high: float
    ticks: Sequence[tuple[float, str]]

    def share(self, value: float) -> float:
        """Where a value lies: 0 at the low end, 1 at the high end."""
        return (value - self.low) / (self.high - self.low)


def axis(label: str, low: float, high: float, unit: float, widened: bool = True) -> Axis:
    """An axis from ``low`` to ``high`` with ticks at round numbers of units; ``widened`` makes both ends ticks."""
    span = max(high - low, 1e-9 * max(abs(high), unit)) / unit
    step = _step(span / 5)
    first, last = math.floor(low / unit / step + 1e-9), math.ceil(high / unit / step - 1e-9)
    last = max(last, first + 1)
    ticks = [(i * step * unit, f"{i * step:.6g}") for i in range(first, last + 1)]
    if widened:
        return Axis(label, ticks[0][0], ticks[-1][0], ticks)
    return Axis(label, low, high, [tick for tick in ticks if low <= tick[0] <= high])


def _step(least: float) -> float:
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * f for f in (1, 2, 2.5, 5, 10) if power * f >= least * (1 - 1e-9))


@dataclass(frozen=True)
class Mark:
    """A ``line`` or an ``area`` with its corners, or a ``circle`` round its only one.

    Its kind is its class in the style sheet, its title what somebody sees who points at it.
    """

    shape: str
    corners: Sequence[Place]
    kind: str
    title: str = ""
    radius: float = 0.0


def symbol(shape: str, place: Place, size: float, kind: str, title: str = "") -> Mark:
    """A point: ``circle``, ``square``, ``diamond``, ``triangle`` or ``star``."""
    if shape == "circle":
        return Mark(shape, [place], kind, title, size)
    return Mark("area", [(place[0] + size * a, place[1] + size * b) for a, b in _SHAPES[shape]], kind, title)


class Chart:
    """Collects marks between two axes; later ones lie above earlier ones.

    What lies outside the axes is cut off. ``name`` tells the charts of a page apart; ``description`` is what somebody
    hears who cannot see it; ``above`` labels the upper edge and draws gridlines.
    """

    width, height = 520, 380
    left, right, top, bottom = 80, 492, 42, 324
    """The edges of the rectangle the axes enclose."""

    def __init__(self, name: str, description: str, x: Axis, y: Axis, above: Axis | None = None) -> None:
        self.name, self.description = name, description
        self.x, self.y, self.above = x, y, above
        self.marks: list[Mark] = []

    def across(self, x: float) -> float:
        """How far to the right of the drawing's left edge a value lies."""
        return self.left + self.x.share(x) * (self.right - self.left)

    def down(self, y: float) -> float:
        """How far below the drawing's upper edge a value lies."""
        return self.bottom - self.y.share(y) * (self.bottom - self.top)

    def line(self, values: Iterable[Place], kind: str) -> None:
        """A line through pairs of values."""
        self.marks.append(Mark("line", self._places(values), kind))

    def band(self, low: Sequence[Place], high: Sequence[Place], kind: str) -> None:
        """The area between two lines."""
        self.marks.append(Mark("area", self._places([*low, *reversed(high)]), kind))

    def point(self, x: float, y: float, shape: str, kind: str, title: str = "", size: float = 4.5) -> None:
        """One point."""
        self.marks.append(symbol(shape, (self.across(x), self.down(y)), size, kind, title))

    def covers(self, x: float, y: float) -> bool:
        """Whether a pair of values lies between the axes."""
        return 0 <= self.x.share(x) <= 1 and 0 <= self.y.share(y) <= 1

    def _places(self, values: Iterable[Place]) -> list[Place]:
        return [(self.across(x), self.down(y)) for x, y in values]
