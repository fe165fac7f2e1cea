"""What a selection needs in memory, and giving memory back."""

from __future__ import annotations

import ctypes
import gc
import sys
from typing import Mapping

from legodnn.shared.tables import Manifest


def weight_bytes(manifest: Manifest, selection: Mapping[str, str]) -> int:
    """Bytes of the weights of all segments of a selection."""
    return sum(v.weight_bytes for v in manifest.chosen(selection))


def activation_bytes(manifest: Manifest, selection: Mapping[str, str]) -> int:
    """Peak bytes of activations: segments run one at a time, so the largest of them decides."""
    return max(v.activation_bytes for v in manifest.chosen(selection))


def needed_bytes(manifest: Manifest, selection: Mapping[str, str]) -> int:
    """Resident weights and peak activations of a selection."""
    return weight_bytes(manifest, selection) + activation_bytes(manifest, selection)


def give_back() -> None:
    """Hand freed memory back to the system, which glibc otherwise keeps for later."""
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
