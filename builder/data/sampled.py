"""A loader of some of a loader's examples, for figures that need not be of all."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator
from typing import Any

from legodnn.builder.data.checked import CheckedLoader
from legodnn.builder.data.indexed import drawn, has_indices, indices_of, only
from legodnn.builder.data.rows import count_rows, rows_of

logger = logging.getLogger(__name__)


def sampled(loader: CheckedLoader, images: int, seed: int, key: str) -> CheckedLoader:
    """A loader of ``images`` of a loader's examples, or the loader where it has no more.

    Of a data set with indices they are drawn by the seed, and read in the data set's order; of any other iterable they
    are the first. What is taken, and the standard error that a share of them has at most, is logged with ``key``, that
    of the number in the recipe. Raises `DataError` for a batch of no tensors that would have to be cut.
    """
    inner: Any = loader.loader
    if not has_indices(inner):
        logger.info("%s: at most the first %s of %s are judged; %s", key, f"{images:,}", loader.name, _error(images))
        return loader.around(_First(inner, images))
    used = sorted(set(indices_of(inner)))
    if len(used) <= images:
        return loader
    chosen = sorted(used[i] for i in drawn(len(used), seed)[:images])
    logger.info("%s: %s of the %s examples in %s are judged, drawn by the seed; %s",
                key, f"{images:,}", f"{len(used):,}", loader.name, _error(images))  # fmt: skip
    return loader.around(only(inner, chosen))


def _error(images: int) -> str:
    """The standard error of a share that is one half, where it is largest."""
    return f"the standard error of a share of them is at most {50 / math.sqrt(images):.2f} points"


class _First:
    """The first examples of a loader's passes; the last batch is cut."""

    def __init__(self, loader: Iterable[Any], images: int) -> None:
        self.loader, self.images = loader, images

    def __iter__(self) -> Iterator[Any]:
        left = self.images
        for batch in self.loader:
            size = count_rows(batch)
            yield batch if size <= left else rows_of(batch, range(left))
            left -= size
            if left <= 0:
                return
