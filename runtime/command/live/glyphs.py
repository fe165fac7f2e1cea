"""Characters for heights and bars, text cut to a width, colours."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import List, Sequence, Tuple

PLAIN, BOLD, DIM, GREEN, YELLOW, RED = "", "1", "2", "32", "33", "31"
"""Parameters of ANSI's SGR."""

Span = Tuple[str, str]
"""A text and its SGR parameter."""


@dataclass(frozen=True)
class Glyphs:
    """``heights`` from low to high, ``full`` and ``empty`` of bars, ``cut`` where text does not fit."""

    heights: str
    full: str
    empty: str
    cut: str


UNICODE = Glyphs("▁▂▃▄▅▆▇█", "█", "░", "…")
ASCII = Glyphs(".:-=+*%#", "#", ".", "~")


def glyphs_for(encoding: str) -> Glyphs:
    """The glyphs that an encoding can represent."""
    try:
        "".join((UNICODE.heights, UNICODE.empty, UNICODE.cut)).encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return UNICODE


def height(glyphs: Glyphs, kept: float) -> str:
    """The character for a share of kept channels, above 0 and at most 1."""
    top = len(glyphs.heights) - 1
    return glyphs.heights[max(0, min(top, round(kept * (top + 1)) - 1))]


def bar(glyphs: Glyphs, share: float, width: int) -> str:
    """A bar of ``width`` columns, filled up to a share; a share above 0 fills at least one."""
    filled = min(width, max(1 if share > 0 else 0, round(share * width)))
    return glyphs.full * filled + glyphs.empty * (width - filled)


def columns(text: str) -> int:
    """The columns of a text on a terminal."""
    return sum(_columns(c) for c in text)


def line(spans: Sequence[Span], width: int, glyphs: Glyphs, colours: bool) -> str:
    """A line of spans, cut to a width, without control characters."""
    parts: List[str] = []
    left = width
    for text, look in spans:
        shown = printable(text)
        if columns(shown) > left:
            shown = _cut(shown, left, glyphs)
        if shown:
            parts.append(f"\x1b[{look}m{shown}\x1b[0m" if look and colours else shown)
        left -= columns(shown)
    return "".join(parts)


def printable(text: str) -> str:
    """The text with a question mark for each unprintable character."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _cut(text: str, width: int, glyphs: Glyphs) -> str:
    if width <= 0:
        return ""
    kept, used = "", 1  # one column for the mark
    for c in text:
        if used + _columns(c) > width:
            break
        kept, used = kept + c, used + _columns(c)
    return kept + glyphs.cut


def _columns(c: str) -> int:
    if unicodedata.combining(c):
        return 0
    return 2 if unicodedata.east_asian_width(c) in ("W", "F") else 1
