"""What a screen is made of: characters for heights and bars, text that fits, colours."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import List, Sequence, Tuple

PLAIN, BOLD, DIM, GREEN, YELLOW, RED = "", "1", "2", "32", "33", "31"
"""Colours and the like, as ANSI's SGR has them."""

Span = Tuple[str, str]
"""A piece of text and how it looks."""


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
    """Those that a terminal of this encoding can show."""
    try:
        "".join((UNICODE.heights, UNICODE.empty, UNICODE.cut)).encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return UNICODE


def height(glyphs: Glyphs, kept: float) -> str:
    """The character for a share that is kept, above 0 and at most 1."""
    top = len(glyphs.heights) - 1
    return glyphs.heights[max(0, min(top, round(kept * (top + 1)) - 1))]


def bar(glyphs: Glyphs, share: float, width: int) -> str:
    """A bar of so many columns, filled up to a share; what is more than nothing shows."""
    filled = min(width, max(1 if share > 0 else 0, round(share * width)))
    return glyphs.full * filled + glyphs.empty * (width - filled)


def columns(text: str) -> int:
    """How many columns of a terminal a text takes."""
    return sum(_columns(c) for c in text)


def line(spans: Sequence[Span], width: int, glyphs: Glyphs, colours: bool) -> str:
    """Pieces of text in a row, cut to a width, without characters that would do anything but show."""
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
    """The text with a question mark for each character that controls a terminal or shows nothing of its own."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _cut(text: str, width: int, glyphs: Glyphs) -> str:
    if width <= 0:
        return ""
    kept, used = "", 1  # one column is for the mark
    for c in text:
        if used + _columns(c) > width:
            break
        kept, used = kept + c, used + _columns(c)
    return kept + glyphs.cut


def _columns(c: str) -> int:
    if unicodedata.combining(c):
        return 0
    return 2 if unicodedata.east_asian_width(c) in ("W", "F") else 1
