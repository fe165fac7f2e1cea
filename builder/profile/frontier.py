"""Selections on the frontier of size and distortion, and the baseline they are compared with.

Found from the measured tables with a price per byte (a Lagrange multiplier); only devices solve the exact program.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from legodnn.shared.bundle.manifest import ORIGINAL
from legodnn.shared.errors import UsageError

Item = TypeVar("Item")

Table = Mapping[str, Mapping[str, float]]
"""A number per block and variant."""


def frontier(distortions: Table, sizes: Table, count: int) -> list[dict[str, str]]:
    """At most ``count`` selections with the least distortion for their bytes, closer together where bytes are few.

    There the accuracy falls fastest. The best selection for a price per byte takes, in every block, the variant with
    the lowest distortion plus price; for each target size the price is found by bisection. Raises `UsageError` for a
    number that is not finite, beside which none is smaller or larger.
    """
    for block, row in distortions.items():
        for variant, distortion in row.items():
            if not (math.isfinite(distortion) and math.isfinite(sizes[block][variant])):
                raise UsageError(f"{block} {variant}: a distortion or a size that is not a finite number")
    smallest = sum(min(row.values()) for row in sizes.values())
    largest = sum(max(row.values()) for row in sizes.values())
    found: list[dict[str, str]] = []
    for i in range(count):
        goal = smallest + (largest - smallest) * (i / count) ** 2
        selection = _at_most(distortions, sizes, goal)
        if selection not in found:
            found.append(selection)
    return found


def uniform(distortions: Table) -> list[dict[str, str]]:
    """The baseline: for each variant the selection that has it in every block. A block without that variant is
    original."""
    variants = dict.fromkeys(v for row in distortions.values() for v in row if v != ORIGINAL)
    return [{b: variant if variant in row else ORIGINAL for b, row in distortions.items()} for variant in variants]


def _at_most(distortions: Table, sizes: Table, goal: float) -> dict[str, str]:
    low, high = 0.0, 1.0
    while _size(sizes, _at_price(distortions, sizes, high)) > goal and high < 1e30:
        high *= 10
    for _ in range(60):
        middle = (low + high) / 2
        if _size(sizes, _at_price(distortions, sizes, middle)) > goal:
            low = middle
        else:
            high = middle
    return _at_price(distortions, sizes, high)


def _at_price(distortions: Table, sizes: Table, price: float) -> dict[str, str]:
    return {b: min(row, key=lambda v: (row[v] + price * sizes[b][v], v)) for b, row in distortions.items()}


def _size(sizes: Table, selection: Mapping[str, str]) -> float:
    return sum(sizes[b][v] for b, v in selection.items())


def undominated(
    items: Iterable[Item], size: Callable[[Item], float], accuracy: Callable[[Item], float]
) -> list[Item]:
    """The Pareto frontier of ``items``, the smallest first: each is more accurate than all that are as small."""
    kept: list[Item] = []
    for item in sorted(items, key=lambda i: (size(i), -accuracy(i))):
        if not kept or accuracy(item) > accuracy(kept[-1]):
            kept.append(item)
    return kept
