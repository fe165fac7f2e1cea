"""Examples in a batch of any structure: how many there are, some of them, and a checksum of each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor

from legodnn.shared.errors import DataError

REMEDY = "name data.validation, so that the training data need not be split"


def count_rows(batch: Any) -> int:
    """How many examples a batch has: the length of the first tensor in it. Raises `DataError` where it has none."""
    for part in _parts(batch):
        if isinstance(part, Tensor) and part.dim():
            return len(part)
    raise DataError(f"a batch of {type(batch).__name__} without a tensor cannot be split; {REMEDY}")


def rows_of(batch: Any, rows: Iterable[int]) -> Any:
    """A batch of some of the examples of ``batch``, of the same structure."""
    return _taken(batch, list(rows), count_rows(batch))


def checksums(batch: Any) -> list[str]:
    """A checksum of each example's inputs, which are the batch's first tensor."""
    count_rows(batch)
    first = next(part for part in _parts(batch) if isinstance(part, Tensor) and part.dim())
    rows = first.detach().cpu().contiguous()
    return [hashlib.sha1(row.numpy().tobytes()).hexdigest() for row in rows]


def _parts(batch: Any) -> Iterable[Any]:
    """The batch, or what is in it, depth first."""
    if isinstance(batch, Mapping):
        batch = list(batch.values())
    if isinstance(batch, Sequence) and not isinstance(batch, str):
        for part in batch:
            yield from _parts(part)
    else:
        yield batch


def _taken(part: Any, rows: list[int], size: int) -> Any:
    if isinstance(part, Tensor):
        return part[rows] if part.dim() and len(part) == size else part
    if isinstance(part, Mapping):
        return type(part)({name: _taken(value, rows, size) for name, value in part.items()})  # type: ignore[call-arg]
    if isinstance(part, tuple | list):
        structure = any(isinstance(item, Tensor) and item.dim() and len(item) == size for item in part)
        if len(part) == size and not structure:
            return type(part)([part[row] for row in rows])
        items = [_taken(item, rows, size) for item in part]
        return type(part)(*items) if hasattr(part, "_fields") else type(part)(items)
    return part
