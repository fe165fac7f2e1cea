"""Names in messages: shortened lists, and suggestions for unknown names."""

from __future__ import annotations

import difflib
from typing import Iterable, Optional, Sequence

SHOWN = 6
"""Names in a line by default; not tuned."""


def few(names: Sequence[str], shown: int = SHOWN) -> str:
    """The first ``shown`` names, and the number of the others."""
    more = f" and {len(names) - shown:,} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def closest(name: str, known: Iterable[str]) -> Optional[str]:
    """The known name most similar to an unknown one; None where none is similar."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1)), None)


def hint(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: ``; did you mean 'x'?``, or nothing."""
    found = closest(name, known)
    return f"; did you mean '{found}'?" if found else ""
