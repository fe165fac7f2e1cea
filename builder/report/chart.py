"""A chart as SVG: two axes, lines, bands and points with tooltips. Colours are the style sheet's, by class."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from legodnn.builder.report.markup import element, number

WIDTH, HEIGHT = 520, 380
LEFT, RIGHT, TOP, BOTTOM = 80, 28, 42, 56

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


def mark(shape: str, x: float, y: float, size: float, kind: str, title: str = "") -> Element:
    """A point: ``circle``, ``square``, ``diamond``, ``triangle`` or ``star``, with a tooltip."""
    tip = element("title", title) if title else None
    if shape == "circle":
        return element("circle", tip, cx=float(x), cy=float(y), r=float(size), class_=kind)
    corners = " ".join(f"{number(x + size * a)},{number(y + size * b)}" for a, b in _SHAPES[shape])
    return element("polygon", tip, points=corners, class_=kind)


class Chart:
    """Collects marks between two axes; later ones lie above earlier ones.

    What lies outside the axes is cut off. ``name`` tells the charts of a page apart; ``description`` is what somebody
    hears who cannot see it.
    """

    def __init__(self, name: str, description: str, x: Axis, y: Axis, above: Axis | None = None) -> None:
        self.x, self.y = x, y
        clip = f"inside-{name}"
        self.svg = element(
            "svg", viewBox=f"0 0 {WIDTH} {HEIGHT}", class_="chart", role="img", aria_label=description
        )
        frame = {"x": LEFT, "y": TOP, "width": WIDTH - LEFT - RIGHT, "height": HEIGHT - TOP - BOTTOM}
        # A little more than the frame: points on the axes stay whole.
        wider = {"x": LEFT - 8, "y": TOP - 8, "width": frame["width"] + 16, "height": frame["height"] + 16}
        self.svg.append(element("clipPath", element("rect", **wider), id=clip))
        self._axes(above)
        self._inside = element("g", clip_path=f"url(#{clip})")
        self.svg.append(self._inside)

    def place(self, x: float, y: float) -> Place:
        """Where a pair of values lies in the drawing."""
        across, up = self.x.share(x), self.y.share(y)
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    def line(self, values: Iterable[Place], kind: str) -> None:
        """A line through pairs of values."""
        self._inside.append(element("polyline", points=self._corners(values), class_=kind))

    def band(self, low: Sequence[Place], high: Sequence[Place], kind: str) -> None:
        """The area between two lines."""
        self._inside.append(element("polygon", points=self._corners([*low, *reversed(high)]), class_=kind))

    def point(self, x: float, y: float, shape: str, kind: str, title: str = "", size: float = 4.5) -> None:
        """One point."""
        self._inside.append(mark(shape, *self.place(x, y), size, kind, title))

    def covers(self, x: float, y: float) -> bool:
        """Whether a pair of values lies between the axes."""
        return 0 <= self.x.share(x) <= 1 and 0 <= self.y.share(y) <= 1

    def _corners(self, values: Iterable[Place]) -> str:
        return " ".join(f"{number(x)},{number(y)}" for x, y in (self.place(*pair) for pair in values))

    def _axes(self, above: Axis | None) -> None:
        bottom, right, middle = HEIGHT - BOTTOM, WIDTH - RIGHT, (LEFT + WIDTH - RIGHT) / 2
        for value, text in self.y.ticks:
            y = self.place(self.x.low, value)[1]
            self.svg.append(element("line", x1=LEFT, x2=right, y1=y, y2=y, class_="grid"))
            self.svg.append(element("text", text, x=LEFT - 8, y=y, class_="tick left"))
        for value, text in self.x.ticks:
            x = self.place(value, self.y.low)[0]
            self.svg.append(element("line", x1=x, x2=x, y1=bottom, y2=bottom + 5, class_="axis"))
            self.svg.append(element("text", text, x=x, y=bottom + 20, class_="tick"))
        for value, text in above.ticks if above else ():
            x = self.place(value, self.y.low)[0]
            self.svg.append(element("line", x1=x, x2=x, y1=TOP, y2=bottom, class_="grid"))
            self.svg.append(element("text", text, x=x, y=TOP - 8, class_="tick"))
        self.svg.append(element("line", x1=LEFT, x2=right, y1=bottom, y2=bottom, class_="axis"))
        self.svg.append(element("text", self.x.label, x=middle, y=HEIGHT - 8, class_="label"))
        if above:
            self.svg.append(element("text", above.label, x=middle, y=14, class_="label"))
        turned = f"translate(16 {number((TOP + bottom) / 2)}) rotate(-90)"
        self.svg.append(element("text", self.y.label, transform=turned, class_="label"))
