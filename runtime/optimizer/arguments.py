"""Checks of numbers given by users; messages name the value and what to give."""

from __future__ import annotations

import math
from typing import Optional

from legodnn.shared.errors import UsageError

OBJECTIVES = ("time", "memory", "energy")
"""What can be minimised for a required accuracy."""


def check_number(what: str, value: object, unit: str) -> None:
    """Raise `UsageError` unless this is a positive finite number; ``what`` starts the sentence."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise UsageError(f"{what} is {value!r}; give a number of {unit}")
    if not math.isfinite(value) or value <= 0:
        raise UsageError(f"{what} is {value}; give a positive number of {unit}")


def check_budget(what: str, value: object, unit: str) -> None:
    """Raise `UsageError` unless this is None, which is no limit, or a positive finite number."""
    if value is not None:
        check_number(f"the {what} budget", value, unit)


def check_share(what: str, value: object) -> None:
    """Raise `UsageError` unless this is a number above 0 and at most 1."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= 1:
        raise UsageError(f"{what} is {value!r}; give a fraction above 0 and at most 1")


def check_objective(minimise: Optional[str]) -> None:
    """Raise `UsageError` unless this is None or something that can be minimised."""
    if minimise is not None and minimise not in OBJECTIVES:
        raise UsageError(f"{minimise!r} cannot be minimised; give one of {', '.join(OBJECTIVES)}")
