"""What a selection needs in memory: by the bundle's tables, and as it was measured on this device.

Memory is how much a process grows: at most, while frames flow, when a bundle is opened and a selection of it is made to
run, over what it held when it had imported `legodnn.runtime` and run something small in the same way, since the pages
of torch's own code are not the network's doing. What making a composition takes for a moment is not in it, and neither
are other compositions that are kept for the way back.

By the bundle's tables alone that is the weights of all segments and the largest peak of activations. What a device
makes of them depends on the way it runs: weights may be there twice, reordered and as they were, operators have code
and room of their own. A `MemoryTable` says what it comes to on this device, see `MemoryEstimator`; where there is none,
the bundle's tables are all that is known. In either case it is a sum over variants and a largest peak, as the integer
program needs it. `weight_bytes` and `activation_bytes` are always the tables' own.
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
"""Weight of the belief that a byte of weights is a byte in memory, against what is measured."""


@dataclass(frozen=True)
class MemoryTable:
    """What selections come to on this device, run in ``way`` (its text).

    ``base`` bytes for every composition, and ``factor`` bytes for every byte of weights, ``own`` of which are not
    shared with other compositions that have the same variant. ``median_error`` and ``worst_error`` are relative, of
    each measured selection predicted from the others.
    """

    way: str
    base: int
    factor: float
    own: float
    median_error: float
    worst_error: float
    compositions: int

    def weights(self, variant: Variant) -> int:
        """Bytes that a variant's weights take."""
        return round(self.factor * variant.weight_bytes)

    def to_plain(self) -> Any:
        """As JSON can hold it."""
        return to_plain(self)


def read_memory_table(plain: Any, way: Optional[str]) -> Optional[MemoryTable]:
    """The inverse of `MemoryTable.to_plain`; None for what is not one, or is for another way to run."""
    try:
        table = from_plain(MemoryTable, plain)
    except LegoError:
        return None
    return table if table.way == way and table.factor >= 0 and 0 <= table.own <= table.factor else None


def fit_memory_table(
    manifest: Manifest, way: str, selections: Sequence[Selection], grown: Sequence[int], apart: bool
) -> MemoryTable:
    """The table that selections and the bytes they made a process grow by (at least one of each) ask for.

    ``apart`` says that every composition computes with weights of its own, whatever it shares.
    """
    weights = [weight_bytes(manifest, s) for s in selections]
    rest = [size - activation_bytes(manifest, s) for s, size in zip(selections, grown)]
    base, factor = _line(weights, rest, grown)
    errors = []
    for i, size in enumerate(grown):
        others = [[*values[:i], *values[i + 1 :]] or values for values in (weights, rest, grown)]
        left_base, left_factor = _line(*others)
        errors.append(abs(left_base + left_factor * weights[i] - rest[i]) / max(1, size))
    own = min(1.0, factor) if apart else 0.0
    return MemoryTable(way, round(base), factor, own, statistics.median(errors), max(errors), len(grown))


def _line(x: Sequence[float], y: Sequence[float], sizes: Sequence[float]) -> Tuple[float, float]:
    """Where the line starts and how it rises, for the least relative errors; it rises by 1 where all ``x`` are one."""
    share = [1 / max(1.0, size) ** 2 for size in sizes]
    middle_x, middle_y = (sum(w * v for w, v in zip(share, values)) / sum(share) for values in (x, y))
    belief = _BELIEF * sum(w * v * v for w, v in zip(share, x)) + sys.float_info.min
    spread = sum(w * (a - middle_x) ** 2 for w, a in zip(share, x))
    together = sum(w * (a - middle_x) * (b - middle_y) for w, a, b in zip(share, x, y))
    slope = max(0.0, (together + belief) / (spread + belief))
    return middle_y - slope * middle_x, slope


# ---- by the bundle's tables -----------------------------------------------------------------------------------------
def weight_bytes(manifest: Manifest, selection: Selection) -> int:
    """Bytes of the weights of all segments of a selection, by the bundle's tables: what a share of the teacher's
    memory means in the paper."""
    return sum(v.weight_bytes for v in manifest.chosen(selection))


def activation_bytes(manifest: Manifest, selection: Selection) -> int:
    """Peak bytes of activations: segments run one at a time, so the largest of them decides."""
    return max(v.activation_bytes for v in manifest.chosen(selection))


def lightest(manifest: Manifest) -> Dict[str, str]:
    """The selection with the fewest bytes of weights."""
    return {block.name: min(block.variants, key=lambda v: v.weight_bytes).name for block in manifest.blocks}


# ---- by what was measured, where it was -----------------------------------------------------------------------------
def needed_bytes(manifest: Manifest, selection: Selection, table: Optional[MemoryTable] = None) -> int:
    """Bytes that a selection needs."""
    return needed_together(manifest, [selection], table)


def needed_together(manifest: Manifest, selections: Iterable[Selection], table: Optional[MemoryTable] = None) -> int:
    """Bytes of compositions that are there at once: what variants share once, and the peak of the one that runs."""
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
