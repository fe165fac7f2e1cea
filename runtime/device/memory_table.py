"""Bytes of memory per selection: from the manifest, and as measured on this device.

Memory is the peak increase of a process's resident memory while inferences run, over the process after it imported
`legodnn.runtime` and ran a small network with the same backend: pages of torch's own code do not count. Temporary
memory of making a composition, and other cached compositions, do not count either.

By the manifest alone that is the weights of all segments plus the largest activation peak. The actual bytes depend on
the backend: weights may be in memory twice, reordered and as stored, and operators have code and buffers. A
`MemoryTable` has the bytes on this device, see `MemoryEstimator`; without one the manifest is used. Either is a sum
over variants plus a largest peak, as the integer program needs it. `weight_bytes` and `activation_bytes` are always
the manifest's.
"""

from __future__ import annotations

import statistics
import sys
from dataclasses import dataclass
from typing import Any, Dict, Iterable, Mapping, Optional, Sequence, Tuple

from legodnn.shared.bundle.manifest import Manifest, Variant
from legodnn.shared.bundle.schema import from_plain, to_plain
from legodnn.shared.errors import LegoError

Selection = Mapping[str, str]

_BELIEF = 1e-3
"""Strength of the prior that a byte of weights is a byte in memory, relative to the measurements; not tuned."""


@dataclass(frozen=True)
class MemoryTable:
    """Bytes of selections on this device, with the backend ``way`` (its text).

    A composition takes ``base`` bytes plus ``factor`` bytes for every byte of weights, ``own`` of which are not shared
    with other compositions of the same variant. ``median_error`` and ``worst_error`` are relative leave-one-out errors
    over the ``compositions`` measured.
    """

    way: str
    base: int
    factor: float
    own: float
    median_error: float
    worst_error: float
    compositions: int

    def weights(self, variant: Variant) -> int:
        """Bytes of a variant's weights in memory."""
        return round(self.factor * variant.weight_bytes)

    def to_plain(self) -> Any:
        """Dicts and numbers, as JSON holds them."""
        return to_plain(self)


def read_memory_table(plain: Any, backend: Optional[str]) -> Optional[MemoryTable]:
    """The inverse of `MemoryTable.to_plain`; None for anything else, and for a table of another backend."""
    try:
        table = from_plain(MemoryTable, plain)
    except LegoError:
        return None
    return table if table.way == backend and table.factor >= 0 and 0 <= table.own <= table.factor else None


def fit_memory_table(
    manifest: Manifest, backend: str, selections: Sequence[Selection], sizes: Sequence[int], apart: bool
) -> MemoryTable:
    """Fit a table to the measured bytes of selections (at least one).

    ``apart`` says that every composition has its own copy of the weights it computes with.
    """
    weights = [weight_bytes(manifest, s) for s in selections]
    rest = [size - activation_bytes(manifest, s) for s, size in zip(selections, sizes)]
    base, factor = _line(weights, rest, sizes)
    errors = []
    for i, size in enumerate(sizes):
        others = [[*values[:i], *values[i + 1 :]] or values for values in (weights, rest, sizes)]
        left_base, left_factor = _line(*others)
        errors.append(abs(left_base + left_factor * weights[i] - rest[i]) / max(1, size))
    own = min(1.0, factor) if apart else 0.0
    return MemoryTable(backend, round(base), factor, own, statistics.median(errors), max(errors), len(sizes))


def _line(x: Sequence[float], y: Sequence[float], sizes: Sequence[float]) -> Tuple[float, float]:
    """Intercept and slope of the line with the least relative errors; the slope is 1 where all ``x`` are equal."""
    share = [1 / max(1.0, size) ** 2 for size in sizes]
    middle_x, middle_y = (sum(w * v for w, v in zip(share, values)) / sum(share) for values in (x, y))
    belief = _BELIEF * sum(w * v * v for w, v in zip(share, x)) + sys.float_info.min
    spread = sum(w * (a - middle_x) ** 2 for w, a in zip(share, x))
    together = sum(w * (a - middle_x) * (b - middle_y) for w, a, b in zip(share, x, y))
    slope = max(0.0, (together + belief) / (spread + belief))
    return middle_y - slope * middle_x, slope


# ---- from the manifest ----------------------------------------------------------------------------------------------
def weight_bytes(manifest: Manifest, selection: Selection) -> int:
    """Bytes of the weights of all segments of a selection, by the manifest: the memory of the paper's budgets."""
    return sum(v.weight_bytes for v in manifest.chosen(selection))


def activation_bytes(manifest: Manifest, selection: Selection) -> int:
    """Peak bytes of activations by the manifest: segments run one at a time, so it is the largest of their peaks."""
    return max(v.activation_bytes for v in manifest.chosen(selection))


def lightest(manifest: Manifest) -> Dict[str, str]:
    """The selection with the fewest bytes of weights."""
    return {block.name: min(block.variants, key=lambda v: v.weight_bytes).name for block in manifest.blocks}


# ---- measured, or else from the manifest ----------------------------------------------------------------------------
def needed_bytes(manifest: Manifest, selection: Selection, table: Optional[MemoryTable] = None) -> int:
    """Bytes of one composition."""
    return needed_together(manifest, [selection], table)


def needed_together(manifest: Manifest, selections: Iterable[Selection], table: Optional[MemoryTable] = None) -> int:
    """Bytes of compositions in memory together: shared variants count once; of activations the largest peak counts."""
    shared: Dict[Tuple[str, str], int] = {}
    own = peak = 0
    for selection in selections:
        own += table.base if table is not None else 0
        for segment, variant in zip(manifest.segments, manifest.chosen(selection)):
            apart = round(table.own * variant.weight_bytes) if table is not None else 0
            whole = table.weights(variant) if table is not None else variant.weight_bytes
            shared[segment.name, variant.name] = whole - apart
            own += apart
            peak = max(peak, variant.activation_bytes)
    return sum(shared.values()) + own + peak
