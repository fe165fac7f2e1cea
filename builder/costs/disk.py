"""Space on the disk that a build needs, and the refusal where it is not there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Mapping
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

_PROGRAM = 16 << 10
"""Bytes of a program in a bundle, and of its share in the manifest, at most. Not tuned: small ones take 4 KiB."""


@dataclass(frozen=True)
class DiskNeeds:
    """Bytes at most: in the work directory while the build runs, and of the bundle."""

    work: int
    bundle: int


def needs_of(
    teacher: int, descendants: Mapping[str, int], blocks: int, precision: str, trains_teacher: bool,
    unfinished: Collection[str] | None = None,
) -> DiskNeeds:  # fmt: skip
    """What a build needs whose teacher has so many bytes of weights, and the descendants of each sparsity so many in so
    many blocks; ``unfinished`` are the sparsities that are to be trained, by default all.

    States are written to a temporary name before they replace the one before. Samples weigh at most a tenth of the
    weights.
    """
    trained = [size for variant, size in descendants.items() if unfinished is None or variant in unfinished]
    work = sum(trained) * (_STATE + _RESULTS) + _STATE * max(trained, default=0) + _REST
    work += teacher * (2 * _STATE + 1) if trains_teacher else 0
    weights = 1.1 * (teacher + sum(descendants.values())) / (2 if precision == "fp16" else 1)
    return DiskNeeds(work, int(weights) + _PROGRAM * (1 + blocks * (1 + len(descendants))))


def require_space(
    blocks: AutoBlockManager, unfinished: Mapping[str, Stage] | None, teacher: Stage | None, precision: str, work: Path,
    out: Path,
) -> None:  # fmt: skip
    """Raise `WorkError` where a disk has less free space than a build still needs.

    ``unfinished`` are the stages of the sparsities that are to be trained, None for all; ``teacher`` is that of a
    teacher that is. What is in them already counts.
    """
    names, made = blocks.descendant_names, [*(unfinished or {}).values(), *([teacher] if teacher else [])]
    whole = sum(map(weight_bytes, blocks.folded.values()))
    present = sum(file.lstat().st_size for stage in made for file in stage.directory.glob("*") if file.is_file())

    def lacking(sizes: Mapping[str, int]) -> str:
        count = len(blocks.block_names)
        needs = needs_of(whole, sizes, count, precision, teacher is not None, unfinished)
        return _lacking(needs, present, work, out)

    if lacking(dict.fromkeys(names, whole)):  # more than they can be, and known without deriving them
        derived = {v: sum(weight_bytes(blocks.derive(b, v).module) for b in blocks.block_names) for v in names}
        reason = lacking(derived)
        if reason:
            raise WorkError(reason)


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
