"""`Screen`: a view as lines of text."""

from __future__ import annotations

import textwrap
from typing import Callable, List, Optional, Sequence

from legodnn.runtime.command.live.glyphs import (
    BOLD,
    DIM,
    GREEN,
    PLAIN,
    RED,
    YELLOW,
    Glyphs,
    Span,
    bar,
    columns,
    height,
    line,
)
from legodnn.runtime.command.live.view import NetworkView, View
from legodnn.shared.units import count, format_bytes, format_seconds

_LABEL = 12
"""Columns of labels: the longest, "predicted", with their indent."""

_WIDEST_CELL = 6
_LONGEST_BAR = 30
_FIGURES = 30
"""Columns of a block's cell and of a gauge's bar at most, and of its text; not tuned."""

_DECISIONS = 4
"""Lines reserved for decisions before networks are shown in full; not tuned."""

Line = List[Span]


class Screen:
    """Draws views.

    Args:
        glyphs: the characters to draw with.
        colours: whether to use colours.
    """

    def __init__(self, glyphs: Glyphs, colours: bool) -> None:
        self._glyphs, self._colours = glyphs, colours

    def draw(self, view: View, width: int, rows: int) -> List[str]:
        """At most ``rows`` lines of at most ``width`` columns; what does not fit is left out."""
        head = [self._head(view, width)]
        full = [row for network in view.networks for row in self._network(view, network, width)]
        short = [row for network in view.networks for row in self._short(network, width)]
        common = self._memory(view, width) if len(view.networks) > 1 else []
        spared = _DECISIONS if view.decisions else 0
        fits = len(head) + len(full) + len(common) + spared <= rows
        lines = [*head, *(full if fits else short), *common]
        lines.extend(_decisions(view.decisions, width, rows - len(lines)))
        return [line(spans, width, self._glyphs, self._colours) for spans in lines[:rows]]

    # ---- parts ------------------------------------------------------------------------------------------------------
    def _head(self, view: View, width: int) -> Line:
        title, clock = "LegoDNN", _clock(view.seconds)
        if view.slowdown >= 1.05:
            title = f"{title}   the device is {view.slowdown:.2g} times slower than when it was measured"
        gap = " " * max(1, width - columns(title) - columns(clock))
        return [(title, BOLD), (gap, PLAIN), (clock, DIM)]

    def _network(self, view: View, network: NetworkView, width: int) -> List[Line]:
        rows: List[Line] = [[], self._title(network), *self._blocks(network, width), self._time(network, width)]
        if len(view.networks) == 1:
            rows.extend(self._memory(view, width))
        else:
            rows.append(_row("memory", (format_bytes(network.memory_bytes), PLAIN)))
        rows.append(_row("predicted", (_accuracy(network), PLAIN)))
        rows.append(_row("latest", (network.latest or "no frame yet", PLAIN)))
        return rows

    def _short(self, network: NetworkView, width: int) -> List[Line]:
        figures = f"{_time(network)}, {format_bytes(network.memory_bytes)}, {network.accuracy:.1%}"
        return [[*self._title(network), ("  ", PLAIN), (figures, PLAIN)], *self._blocks(network, width)[:1]]

    def _title(self, network: NetworkView) -> Line:
        counts = f"{count(network.frames, 'frame')}, {network.per_second:.3g} a second"
        if network.dropped is not None:
            counts = f"{counts}, {network.dropped} dropped"
        return [(network.name, BOLD), ("  ", PLAIN), (counts, DIM)]

    def _blocks(self, network: NetworkView, width: int) -> List[Line]:
        """A cell for every block, whose height is the share of channels left, and below it the sparsity in percent."""
        blocks, available = len(network.sparsities), max(1, width - _LABEL)
        cell = min(_WIDEST_CELL, available // max(1, blocks) - 1)
        gap = " " if cell >= 1 else ""
        cell = max(1, cell)
        rows: List[Line] = []
        a_row = max(1, available // (cell + len(gap)))
        for start in range(0, blocks, a_row):
            row = _row("blocks" if start == 0 else "")
            for sparsity in network.sparsities[start : start + a_row]:
                row.extend([(height(self._glyphs, 1 - sparsity) * cell, _colour(sparsity)), (gap, PLAIN)])
            rows.append(row)
        if cell >= 3:
            percent = [f"{100 * sparsity:.0f}".center(cell) for sparsity in network.sparsities]
            rows.append(_row("% gone", (gap.join(percent), DIM)))
        return rows

    def _time(self, network: NetworkView, width: int) -> Line:
        needed = network.measured_seconds or network.predicted_seconds
        after = ""
        if network.measured_seconds is not None and network.predicted_seconds is not None:
            after = f"predicted {format_seconds(network.predicted_seconds)}"
        return self._gauge("time", _time(network), needed, network.seconds_limit, width, after)

    def _memory(self, view: View, width: int) -> List[Line]:
        needed = sum(network.memory_bytes for network in view.networks)
        text = _of(format_bytes, needed, view.memory_limit)
        row = self._gauge("memory", text, needed, view.memory_limit, width)
        return [row] if len(view.networks) == 1 else [[], [("together", BOLD)], row]

    def _gauge(
        self, label: str, text: str, needed: Optional[float], limit: Optional[float], width: int, after: str = ""
    ) -> Line:
        """A line with a bar for the share of the limit that is needed."""
        row = _row(label, (text.ljust(_FIGURES), PLAIN))
        length = min(_LONGEST_BAR, width - _LABEL - _FIGURES - (len(after) + 2 if after else 0))
        if needed is not None and limit is not None and length >= 5:
            share = needed / limit
            row.append((bar(self._glyphs, share, length), RED if share > 1 else PLAIN))
            row.append(("  ", PLAIN))
        row.append((after, DIM))
        return row


def _decisions(decisions: Sequence[str], width: int, available: int) -> List[Line]:
    """As many of the latest decisions as fit into ``available`` lines."""
    title: List[Line] = [[], [("decisions", BOLD)]]
    rows: List[Line] = []
    for text in reversed(decisions):
        wrapped = textwrap.wrap(text, max(1, width), subsequent_indent=" " * min(_LABEL, width // 2)) or [""]
        if len(title) + len(rows) + len(wrapped) > available:
            break
        rows = [[(part, PLAIN)] for part in wrapped] + rows
    return title + rows if rows else []


def _row(label: str, *spans: Span) -> Line:
    return [(f"  {label}".ljust(_LABEL), DIM), *spans]


def _time(network: NetworkView) -> str:
    seconds = network.measured_seconds or network.predicted_seconds
    return _of(format_seconds, seconds, network.seconds_limit)


def _of(text: Callable[[float], str], needed: Optional[float], limit: Optional[float]) -> str:
    shown = text(needed) if needed is not None else "?"
    return f"{shown} of {text(limit)}" if limit is not None else shown


def _accuracy(network: NetworkView) -> str:
    return f"{network.metric} {network.accuracy:.2%}, {network.error}"


def _colour(sparsity: float) -> str:
    return GREEN if sparsity < 0.3 else YELLOW if sparsity < 0.65 else RED


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


def text_of(lines: Sequence[str]) -> str:
    """The text that clears a terminal and shows these lines from its upper left corner on."""
    return "\x1b[H" + "".join(f"{text}\x1b[K\r\n" for text in lines[:-1]) + "".join(lines[-1:]) + "\x1b[K\x1b[J"
