"""Names in messages: many in one line, and the one that was probably meant."""

from __future__ import annotations

import difflib
from typing import Iterable, Optional, Sequence

SHOWN = 6
"""How many names a line has where nothing else is said."""


def few(names: Sequence[str], shown: int = SHOWN) -> str:
    """The first ``shown`` of the names, and how many more there are."""
    more = f" and {len(names) - shown:,} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def closest(name: str, known: Iterable[str]) -> Optional[str]:
    """The known name that was probably meant by an unknown one; None where none is like it."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1)), None)


def hint(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: ``; did you mean 'x'?``, or nothing."""
    found = closest(name, known)
    return f"; did you mean '{found}'?" if found else ""
