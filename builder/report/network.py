"""The network drawn as its segments, one below the other, with the values that pass between them."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree.ElementTree import Element

from legodnn.builder.report.facts import SegmentFacts
from legodnn.builder.report.markup import element
from legodnn.builder.report.words import count, megaflops
from legodnn.shared.units import format_bytes

WIDTH = 520
ROW, GAP = 52, 12
LANE, MOST_LANES = 9, 12
NAME_LETTERS, LAYER_LETTERS = 24, 58


def drawing(segments: Sequence[SegmentFacts]) -> Element:
    """A box for each segment: its name, layers and bytes; a bar as long as its weights, the part filled that even the
    smallest variant has. Lines on the left are values that pass by segments."""
    lanes = _lanes(segments)
    left = 6 + LANE * (1 + max(lanes.values(), default=-1))
    svg = element(
        "svg",
        viewBox=f"0 0 {WIDTH} {len(segments) * (ROW + GAP) - GAP + 4}",
        class_="chart network",
        role="img",
        aria_label="the network's segments in the order in which they run; the same is in a table",
    )
    for (maker, reader), lane in lanes.items():
        svg.append(_bypass(maker, reader, left - LANE * (lane + 0.5), left))
    largest = max((s.resources.weight_bytes for s in segments), default=0)
    for number, segment in enumerate(segments):
        if number and number - 1 in segment.reads:
            middle, top = (left + WIDTH) / 2, _top(number)
            svg.append(element("line", x1=middle, x2=middle, y1=top - GAP, y2=float(top), class_="wire"))
        svg.append(_box(segment, float(left), float(_top(number)), largest))
    return svg


def _top(number: int) -> int:
    return 2 + number * (ROW + GAP)


def _box(segment: SegmentFacts, left: float, top: float, largest: int) -> Element:
    kind = "block" if segment.is_block else "trunk"
    resources = segment.resources
    layers = ", ".join(segment.layers) or "no convolution, no linear layer"
    tip = (
        f"{segment.name} ({kind}): {count(len(segment.layers), 'layer')}, {count(resources.parameters, 'parameter')}, "
        f"{format_bytes(resources.weight_bytes)}, {megaflops(resources.flops)}\n{layers}"
    )
    length = WIDTH - 2 - left - 24
    whole = length * resources.weight_bytes / max(1, largest)
    kept = length * segment.smallest_bytes / max(1, largest)
    size = format_bytes(resources.weight_bytes)
    if segment.is_block:
        size = f"{format_bytes(segment.smallest_bytes)} to {size}"
    inner = left + 12
    return element(
        "g",
        element("title", tip),
        element("rect", x=left, y=top, width=WIDTH - 2 - left, height=ROW, rx=6, class_=f"box {kind}"),
        element("text", _cut(segment.name, NAME_LETTERS), x=inner, y=top + 17, class_="name"),
        element("text", size, x=float(WIDTH - 14), y=top + 17, class_="size"),
        element("text", _cut(layers, LAYER_LETTERS), x=inner, y=top + 34, class_="layers"),
        element("rect", x=inner, y=top + 41, width=max(1.0, whole), height=5, rx=1, class_=f"bar whole {kind}"),
        element("rect", x=inner, y=top + 41, width=max(1.0, kept), height=5, rx=1, class_=f"bar kept {kind}"),
    )


def _bypass(maker: int, reader: int, x: float, left: float) -> Element:
    """A value that goes from one segment, or the input (-1), to one further down."""
    start = float(_top(maker) + ROW * 0.7) if maker >= 0 else 2.0
    end = float(_top(reader) + ROW * 0.3)
    path = f"M{left} {start} H{x + 3} Q{x} {start} {x} {start + 3} V{end - 3} Q{x} {end} {x + 3} {end} H{left}"
    return element("path", d=path, class_="wire")


def _lanes(segments: Sequence[SegmentFacts]) -> dict[tuple[int, int], int]:
    """For every value that passes by a segment the lane it takes; those that overlap take different ones, as far as
    there are lanes."""
    passing = [(maker, i) for i, s in enumerate(segments) for maker in s.reads if maker < i - 1]
    ends: list[int] = []
    lanes = {}
    for maker, reader in sorted(passing):
        free = next((lane for lane, end in enumerate(ends) if end <= maker), None)
        if free is None:
            free = min(len(ends), MOST_LANES - 1)
            ends += [0] * (free + 1 - len(ends))
        ends[free] = max(ends[free], reader)
        lanes[maker, reader] = free
    return lanes


def _cut(text: str, letters: int) -> str:
    return text if len(text) <= letters else f"{text[: letters - 1]}…"
