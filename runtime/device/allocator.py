"""Returning freed memory to the system."""

from __future__ import annotations

import ctypes
import gc
import sys


def give_back() -> None:
    """Collect garbage, then `trim`."""
    gc.collect()
    trim()


def trim() -> None:
    """Return freed memory to the system, which glibc otherwise keeps; nothing on other systems than Linux.

    No garbage is collected: it would block all threads for about 0.1 s, and compositions are freed by their reference
    counts.
    """
    if sys.platform == "linux":
        malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if malloc_trim is not None:
            malloc_trim(0)
