"""What a selection needs in memory, and giving memory back."""

from __future__ import annotations

import ctypes
import gc
import sys
from typing import Dict, Iterable, Mapping, Tuple

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


def needed_together(manifest: Manifest, selections: Iterable[Mapping[str, str]]) -> int:
    """Bytes of compositions that are there at once: each variant's weights once, and the peak of the one that runs."""
    weights: Dict[Tuple[str, str], int] = {}
    peak = 0
    for selection in selections:
        for segment, variant in zip(manifest.segments, manifest.chosen(selection)):
            weights[segment.name, variant.name] = variant.weight_bytes
            peak = max(peak, variant.activation_bytes)
    return sum(weights.values()) + peak


def give_back() -> None:
    """Hand freed memory back to the system, which glibc otherwise keeps for later."""
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
