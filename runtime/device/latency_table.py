"""`LatencyTable`: seconds per variant, fitted to measured compositions.

The model is additive: a base plus the seconds of the selected variants. It is fitted by ridge regression towards a
prior in proportion to FLOPs; the ridge strength is the one with the least leave-one-out error.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Sequence, Tuple

import torch
from torch import Tensor

from legodnn.shared.bundle.manifest import Manifest
from legodnn.shared.bundle.schema import from_plain, to_plain
from legodnn.shared.errors import LegoError

_STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Ridge strengths tried, a decade apart, relative to the squared mean of the measurements; the range is not tuned."""


@dataclass(frozen=True)
class LatencyTable:
    """Seconds on this device: ``base`` for every selection, ``variants`` by block and variant.

    ``median_error`` and ``worst_error`` are relative leave-one-out errors over the ``compositions`` measured.
    ``repeat_noise`` and ``worst_noise`` are the median and largest relative deviation of the teacher, composed anew and
    measured again, from its median: the lower bound for the error of any prediction.
    """

    base: float
    variants: Dict[str, Dict[str, float]]
    median_error: float
    worst_error: float
    repeat_noise: float
    worst_noise: float
    compositions: int

    def predict(self, selection: Mapping[str, str]) -> float:
        """Predicted seconds per inference of a selection."""
        return self.base + sum(self.variants[block][variant] for block, variant in selection.items())

    def fits(self, manifest: Manifest) -> bool:
        """Whether the table has exactly the variants of a bundle."""
        names = {block.name: {v.name for v in block.variants} for block in manifest.blocks}
        return {block: set(row) for block, row in self.variants.items()} == names

    def to_plain(self) -> Dict[str, Any]:
        """Dicts and numbers."""
        plain: Dict[str, Any] = to_plain(self)
        return plain

    @classmethod
    def from_plain(cls, plain: Any) -> "LatencyTable":
        """The inverse of `to_plain`. Raises `LegoError` for anything else."""
        return from_plain(cls, plain)


def read_table(plain: Any, manifest: Manifest) -> "LatencyTable | None":
    """A cached table; None for anything that is no table of these variants."""
    try:
        table = LatencyTable.from_plain(plain)
    except LegoError:
        return None
    return table if table.fits(manifest) else None


def fit_table(
    manifest: Manifest, selections: Sequence[Mapping[str, str]], ratios: Sequence[float], references: Sequence[float]
) -> LatencyTable:
    """Fit a table to measured selections (at least one).

    ``ratios`` are their times over the teacher's in the same group, ``references`` the teacher's seconds in each group.
    """
    typical = statistics.median(references)
    noise = [abs(seconds / typical - 1) for seconds in references]
    columns = [(b.name, v.name) for b in manifest.blocks for v in b.variants]
    place = {column: i + 1 for i, column in enumerate(columns)}
    design = torch.zeros(len(selections), 1 + len(columns), dtype=torch.float64)
    design[:, 0] = 1
    for row, selection in enumerate(selections):
        for item in selection.items():
            design[row, place[item]] = 1
    measured = torch.tensor([ratio * typical for ratio in ratios], dtype=torch.float64)
    prior = _prior(manifest, design, measured)
    solution, errors = _ridge(design, measured, prior)
    values = solution.tolist()
    table: Dict[str, Dict[str, float]] = {}
    for (block, variant), value in zip(columns, values[1:]):
        table.setdefault(block, {})[variant] = value
    held_out = statistics.median(errors), max(errors)
    return LatencyTable(values[0], table, *held_out, statistics.median(noise), max(noise), len(selections))


def _prior(manifest: Manifest, design: Tensor, measured: Tensor) -> Tensor:
    """The prior: a least-squares line of seconds over FLOPs, neither its slope nor its constant below 0."""
    flops = [0.0] + [float(v.flops) for b in manifest.blocks for v in b.variants]
    operations = torch.tensor(flops, dtype=torch.float64)
    total = design @ operations
    spread = (total - total.mean()).square().sum()
    slope = ((total - total.mean()) * (measured - measured.mean())).sum() / spread if float(spread) > 0 else 0.0
    prior = operations * max(0.0, float(slope))
    prior[0] = max(0.0, float((measured - design @ prior).mean()))
    return prior


def _ridge(design: Tensor, measured: Tensor, prior: Tensor) -> Tuple[Tensor, List[float]]:
    """The solution and its relative leave-one-out errors, for the ridge strength with the least mean square of them."""
    weights = 1 / measured
    rows = design * weights[:, None]
    best: Tuple[float, Tensor, List[float]] = (float("inf"), prior, [])
    for strength in _STRENGTHS:
        scale = measured.mean().square()
        solution, inverse = _non_negative(rows, measured * weights, prior, strength / scale)
        leverage = (rows @ inverse * rows).sum(1).clamp_max(1 - 1e-6)
        errors = ((rows @ solution - measured * weights) / (1 - leverage)).abs().tolist()
        score = statistics.fmean(e * e for e in errors)
        if score < best[0]:
            best = (score, solution, errors)
    return best[1], best[2]


def _non_negative(rows: Tensor, wanted: Tensor, prior: Tensor, strength: Tensor) -> Tuple[Tensor, Tensor]:
    """Ridge regression towards a prior with non-negative seconds: coefficients that would be negative are fixed at 0.

    Also returns the inverse of the normal equations for leverages, with zeros for fixed coefficients.
    """
    free = torch.ones(rows.shape[1], dtype=torch.bool)
    while True:
        chosen = rows[:, free]
        inverse = torch.linalg.inv(chosen.T @ chosen + torch.eye(chosen.shape[1], dtype=torch.float64) * strength)
        found = prior[free] + inverse @ chosen.T @ (wanted - chosen @ prior[free])
        if bool((found >= 0).all()):
            break
        free[free.nonzero().flatten()[found < 0]] = False
    solution, whole = torch.zeros_like(prior), torch.zeros(len(prior), len(prior), dtype=torch.float64)
    solution[free] = found
    whole[free.nonzero(), free.nonzero().flatten()] = inverse
    return solution, whole
