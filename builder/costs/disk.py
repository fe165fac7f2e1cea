"""Space on the disk that a build needs, and the refusal where it is not there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from legodnn.builder.blocks import AutoBlockManager
from legodnn.builder.graph.resources import weight_bytes
from legodnn.builder.workdir.stage import Stage
from legodnn.shared.errors import WorkError
from legodnn.shared.units import format_bytes

_STATE = 3
"""Copies of the weights in the state of an interrupted training: themselves, and Adam's two moments."""

_RESULTS = 4
"""Copies of descendants' weights beside that state: as derived, as either step left them, and the better ones."""

_REST = 16 << 20
"""Bytes of logs, tables and the report. Not tuned."""


@dataclass(frozen=True)
class DiskNeeds:
    """Bytes at most: in the work directory while the build runs, and of the bundle."""

    work: int
    bundle: int


def needs_of(teacher: int, descendants: Sequence[int], precision: str, trains_teacher: bool) -> DiskNeeds:
    """What a build needs whose teacher has so many bytes of weights, and the descendants of each sparsity that is to be
    trained so many.

    States are written to a temporary name before they replace the one before.
    """
    distilled = sum(descendants) * (_STATE + _RESULTS) + _STATE * max(descendants, default=0)
    trained = teacher * (2 * _STATE + 1) if trains_teacher else 0
    return DiskNeeds(distilled + trained + _REST, (teacher + sum(descendants)) // (2 if precision == "fp16" else 1))


def require_space(
    blocks: AutoBlockManager, unfinished: Sequence[str], stages: Sequence[Stage], precision: str, work: Path, out: Path,
    *, trains_teacher: bool,
) -> None:  # fmt: skip
    """Raise `WorkError` where a disk has less free space than a build still needs for the sparsities whose training is
    ``unfinished``, by variant; what is in ``stages`` already, which are to be made, counts."""
    whole = sum(map(weight_bytes, blocks.folded.values()))
    present = sum(file.lstat().st_size for stage in stages for file in stage.directory.glob("*") if file.is_file())
    bound = needs_of(whole, [whole] * len(unfinished), precision, trains_teacher)
    if not _lacking(bound, present, work, out):
        return
    derived = [sum(weight_bytes(blocks.derive(b, v).module) for b in blocks.block_names) for v in unfinished]
    lacking = _lacking(needs_of(whole, derived, precision, trains_teacher), present, work, out)
    if lacking:
        raise WorkError(lacking)


def _lacking(needs: DiskNeeds, present: int, work: Path, out: Path) -> str:
    """Which disk has too little free space, in one sentence; empty where none has."""
    folder, place = _existing(work), _existing(out.parent)
    rows = [(folder, max(0, needs.work - present), "--work"), (place, needs.bundle, "-o")]
    if os.stat(folder).st_dev == os.stat(place).st_dev:
        rows = [(folder, sum(size for _, size, _ in rows), "--work and -o")]
    for where, size, option in rows:
        free = shutil.disk_usage(where).free
        if free < size:
            return (
                f"{where}: up to {format_bytes(size)} are needed on this disk, and {format_bytes(free)} are free; "
                f"delete something there, or name another one with {option}"
            )
    return ""


def _existing(path: Path) -> Path:
    """The path, or the innermost folder above it that is there."""
    return next(folder for folder in (path.resolve(), *path.resolve().parents) if folder.is_dir())
