"""Many names in one line."""

from __future__ import annotations

from typing import Sequence

SHOWN = 6
"""How many names a line has where nothing else is said."""


def few(names: Sequence[str], shown: int = SHOWN) -> str:
    """The first ``shown`` of the names, and how many more there are."""
    more = f" and {len(names) - shown:,} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
