"""Times, sizes and errors as text. Everywhere else times are seconds, sizes bytes, accuracies fractions."""

from __future__ import annotations

import math
import re
from typing import Mapping

from legodnn.shared.errors import UnitError

_SECONDS: Mapping[str, float] = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}
_BYTES: Mapping[str, int] = {
    "B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30,
}  # fmt: skip
_QUANTITY = re.compile(r"\s*([-+]?[\d.]+(?:e[-+]?\d+)?|[-+]?nan|[-+]?inf)\s*([^\d\s.]*)\s*\Z", re.IGNORECASE)


def parse_seconds(text: str) -> float:
    """Seconds in ``5ms``, ``1.5 s``, ``200us``, ``1min``. Raises `UnitError` for anything else."""
    return _parse(text, _SECONDS, "a time", "5ms")


def parse_bytes(text: str) -> int:
    """Bytes in ``4.5MiB``, ``10 MB``, ``512B``, ``3kB``, ``1GiB``. Raises `UnitError` for anything else."""
    return max(1, int(_parse(text, _BYTES, "a size", "4.5MiB")))


def _parse(text: str, units: Mapping[str, float], what: str, example: str) -> float:
    match = _QUANTITY.match(text)
    if match is None:
        raise UnitError(f"'{text}' is not {what}; write it like {example}")
    number, unit = match.group(1), match.group(2).lower()
    sizes = {name.lower(): size for name, size in units.items()}
    if not unit:
        raise UnitError(f"'{text}' has no unit; write {what} like {example} ({', '.join(units)})")
    if unit not in sizes:
        raise UnitError(f"'{text}' has the unknown unit '{match.group(2)}'; write {what} like {example}")
    try:
        value = float(number) * sizes[unit]
    except ValueError:
        raise UnitError(f"'{text}' is not {what}; write it like {example}") from None
    if not math.isfinite(value) or value <= 0:
        raise UnitError(f"'{text}' is not a positive number; write {what} like {example}")
    return value


def format_seconds(seconds: float) -> str:
    """Three significant digits with a fitting unit: ``4.93 ms``, ``2.5 min``."""
    for unit, size, least in (("h", 3600.0, 2.0), ("min", 60.0, 2.0), ("s", 1.0, 0.9995), ("ms", 1e-3, 0.9995)):
        if abs(seconds) >= least * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} us"


def format_bytes(count: float) -> str:
    """Three significant digits with a binary unit: ``4.5 MiB``."""
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if abs(count) >= size:
            return f"{count / size:.3g} {unit}" if count < 1000 * size else f"{count / size:.0f} {unit}"
    return f"{count:.0f} B"


def count(number: int, what: str) -> str:
    """``1 layer``, ``1,234 layers``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def signed_points(share: float) -> str:
    """A difference of fractions in percentage points, with its sign: ``-0.43`` for -0.0043, ``0.00`` for none."""
    rounded = round(100 * share, 2)
    return f"{rounded:+.2f}" if rounded else "0.00"


def plus_minus(error: float) -> str:
    """The error of a fraction in percentage points: ``± 0.43 points`` for 0.0043."""
    return f"± {100 * error:.2f} points"
