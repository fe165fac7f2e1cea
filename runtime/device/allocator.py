"""Giving memory back to the system."""

from __future__ import annotations

import ctypes
import gc
import sys


def give_back() -> None:
    """Free what is garbage, and hand freed memory back to the system."""
    gc.collect()
    trim()


def trim() -> None:
    """Hand freed memory back to the system, which glibc otherwise keeps for later.

    Other threads run on meanwhile: they would wait for a tenth of a second while Python looks for garbage. Compositions
    are none, they go when the last reference does.
    """
    if sys.platform == "linux":
        malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if malloc_trim is not None:
            malloc_trim(0)
