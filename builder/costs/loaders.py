"""How much data a loader has, and how fast it is read."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch

from legodnn.builder.data.checked import CheckedLoader
from legodnn.builder.data.indexed import has_indices, indices_of, length
from legodnn.builder.data.rows import count_rows

_TIMED = 3
"""Batches that are read to time a loader. Not tuned."""


@dataclass(frozen=True)
class LoaderSize:
    """``images`` is the number of examples in a pass, None where the loader does not know it; ``batch`` that of the
    first batch; ``seconds`` are those to read one example."""

    images: int | None
    batch: int
    seconds: float


def size_of(loader: Iterable[Any]) -> LoaderSize:
    """The size of a loader, of which the first few batches are read; torch's random numbers are left as they were.

    Raises what the loader raises, and `DataError` for batches without a tensor.
    """
    inner: Any = loader.loader if isinstance(loader, CheckedLoader) else loader
    with torch.random.fork_rng(devices=[]):
        started = time.monotonic()
        batches = [count_rows(batch) for batch in itertools.islice(loader, _TIMED)]
        seconds = time.monotonic() - started
        known = length(loader)
        images = None if known is None else known * batches[0]
        if has_indices(inner):
            images = sum(1 for _ in indices_of(inner))
        elif known is not None and known <= len(batches):
            images = sum(batches)
    return LoaderSize(images, batches[0], seconds / sum(batches))
