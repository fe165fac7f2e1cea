"""Numbers and selections as a report writes them."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import Any

from legodnn.builder.recipe.schema import Call
from legodnn.builder.report.selections import Point
from legodnn.shared.bundle.manifest import ORIGINAL

MINUS = "\N{MINUS SIGN}"

WITHOUT_A_LOOK = "without a look at the input"
"""What the trivial answer is called."""


def percent(share: float, digits: int = 2) -> str:
    """A fraction in percent."""
    return f"{100 * share:.{digits}f} %"


def signed_points(share: float) -> str:
    """A difference of fractions in percentage points, with its sign."""
    rounded = round(100 * share, 2)
    return f"{rounded:+.2f}".replace("-", MINUS) if rounded else "0.00"


def count(number: int, what: str) -> str:
    """``1 layer``, ``1,234 layers``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def megaflops(flops: int) -> str:
    """Operations of an inference."""
    return f"{flops / 1e6:,.1f} MFLOP"


def short_variant(name: str) -> str:
    """``0.6`` for ``sparsity=0.6``; other names as they are, the original as 0."""
    return "0" if name == ORIGINAL else name.removeprefix("sparsity=")


def selection_line(selection: Mapping[str, str]) -> str:
    """The variants of a selection, in the blocks' order: ``0 0.2 0.4``, and ``0 ×8`` for one that is there eight times
    in a row."""
    words = []
    for name, row in groupby(selection.values()):
        times = len(list(row))
        words.append(short_variant(name) if times == 1 else f"{short_variant(name)}\N{NO-BREAK SPACE}×{times}")
    return ", ".join(words)


def setting(value: Any) -> str:
    """The value of a recipe's key."""
    if isinstance(value, Call):
        given = [repr(a) for a in value.args] + [f"{k}={v!r}" for k, v in value.kwargs.items()]
        return f"{value.factory}({', '.join(given)})" if given else value.factory
    if value is None or value == ():
        return "not set"
    if isinstance(value, (tuple, list)):
        return ", ".join(map(setting, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def of_teacher(point: Point, teacher: Point) -> str:
    """What a selection keeps of the teacher's accuracy."""
    return share_of(point.accuracy, teacher)


def share_of(accuracy: float, teacher: Point) -> str:
    """An accuracy as a share of the teacher's."""
    return percent(accuracy / teacher.accuracy, 1) if teacher.accuracy else "-"
