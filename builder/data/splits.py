"""The training data in two parts: what descendants learn from, and a validation split that they never see.

A data set with indices is split by them; of any other iterable the examples of the first batches are set aside, and
left out wherever they come by again, known by a checksum.
"""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any

from legodnn.builder.data.checked import CheckedLoader
from legodnn.builder.data.indexed import around, drawn, has_indices, indices_of, length, name_of, only, without
from legodnn.builder.data.rows import checksums, count_rows, rows_of
from legodnn.builder.workdir.seeds import seed_epoch
from legodnn.shared.errors import DataError

logger = logging.getLogger(__name__)

VALIDATION_SHARE = 0.08
"""Share of the training data in the validation split. Not tuned."""

COMPARED = 256
"""Images of the validation split that are used, from the first on: more did not change which step is the better."""

MUST_RETURN = 0.9
"""Share of examples set aside that must come by again in an epoch; else others of the same kind are trained on."""

_PATIENCE = 10.0
"""Seconds of counting batches after which that is said. Not tuned."""

VALIDATION_EPOCH = -1
"""The number of the pass that reads the validation split."""


class Split(ABC):
    """The two parts. ``batches`` is the number of training batches in an epoch; ``remark`` says what is wrong with the
    split, empty where nothing is."""

    batches: int
    remark = ""

    @abstractmethod
    def training(self, epoch: int) -> Iterator[Any]:
        """The training batches of an epoch, in its order and with its augmentation."""

    @abstractmethod
    def validation(self) -> Iterator[Any]:
        """The batches of the validation split, the same ones every time."""


def split(loader: Iterable[Any], seed: int, validation: Iterable[Any] | None = None) -> Split:
    """Split a loader of training data; with a loader of ``validation`` data, that is the split.

    Raises `DataError` for a loader with fewer than two examples, or none.
    """
    if validation is not None:
        return _TwoLoaders(loader, validation, seed)
    inner = loader.loader if isinstance(loader, CheckedLoader) else loader
    if has_indices(inner):
        return _by_index(loader, inner, seed)
    return _ByChecksum(loader, seed)


def _count(loader: Iterable[Any], name: str) -> int:
    known = length(loader)
    count = _counted(loader, name) if known is None else known
    if count == 0:
        raise DataError(f"{name}: the loader yields no batches")
    return count


def _counted(loader: Iterable[Any], name: str) -> int:
    """The batches of a loader that does not know how many it has; said where counting takes long, or would never
    end."""
    said = time.monotonic() + _PATIENCE
    count = 0
    for count, _ in enumerate(loader, 1):
        if time.monotonic() > said:
            logger.warning(
                "%s: %s batches counted so far; a loader that never ends cannot be learnt from: give it a __len__",
                name, f"{count:,}",
            )  # fmt: skip
            said += 6 * _PATIENCE
    return count


class _TwoLoaders(Split):
    """A loader for each part."""

    def __init__(self, training: Iterable[Any], held: Iterable[Any], seed: int) -> None:
        self._training, self._held, self._seed = training, held, seed
        self.batches = _count(training, name_of(training))

    def training(self, epoch: int) -> Iterator[Any]:
        seed_epoch(self._training, self._seed, epoch)
        return iter(self._training)

    def validation(self) -> Iterator[Any]:
        seed_epoch(self._held, self._seed, VALIDATION_EPOCH)
        return iter(self._held)


# ---- data sets with indices -----------------------------------------------------------------------------------------
def _by_index(loader: Iterable[Any], inner: Any, seed: int) -> Split:
    """A share of a data set's indices, drawn by the seed from those that a pass over the loader would read."""
    seed_epoch(loader, seed, 0)
    used = sorted(set(indices_of(inner)))
    if len(used) < 2:
        raise DataError(f"{name_of(loader)}: {len(used)} examples; at least 2 are needed, one of them to validate on")
    held = [used[i] for i in drawn(len(used), seed)[: max(1, round(VALIDATION_SHARE * len(used)))]]
    return _TwoLoaders(around(loader, without(inner, held)), around(loader, only(inner, held)), seed)


# ---- any other iterable ---------------------------------------------------------------------------------------------
class _ByChecksum(Split):
    """The examples of the first batches of one pass."""

    def __init__(self, loader: Iterable[Any], seed: int) -> None:
        self._loader, self._seed, self._name = loader, seed, name_of(loader)
        self._kept = self._set_aside()
        self._held = {number for batch in self._kept for number in checksums(batch)}
        self.batches = _count(loader, self._name)

    def _set_aside(self) -> list[Any]:
        """The first batches of a pass, with as many examples as the validation split has."""
        seed_epoch(self._loader, self._seed, 0)
        first: list[Any] = []
        seen, known = 0, length(self._loader)
        for batch in self._loader:
            if sum(map(count_rows, first)) < COMPARED:
                first.append(batch)
            seen += count_rows(batch)
            if known is not None:
                seen *= known
            if seen * VALIDATION_SHARE >= COMPARED or known is not None:
                break
        if seen < 2:
            raise DataError(f"{self._name}: {seen} examples; at least 2 are needed, one of them to validate on")
        return self._filled(first, min(COMPARED, max(1, round(VALIDATION_SHARE * seen))))

    def _filled(self, first: list[Any], wanted: int) -> list[Any]:
        """The first ``wanted`` examples of a pass that began with these batches."""
        kept: list[Any] = []
        seed_epoch(self._loader, self._seed, 0)
        for batch in self._loader if sum(map(count_rows, first)) < wanted else first:
            size = min(wanted, count_rows(batch))
            kept.append(rows_of(batch, range(size)))
            wanted -= size
            if wanted <= 0:
                break
        return kept

    def training(self, epoch: int) -> Iterator[Any]:
        seed_epoch(self._loader, self._seed, epoch)
        back: set[str] = set()
        trained = 0
        for batch in self._loader:
            numbers = checksums(batch)
            new = [row for row, number in enumerate(numbers) if number not in self._held]
            back.update(number for number in numbers if number in self._held)
            trained += len(new)
            if new:
                yield batch if len(new) == len(numbers) else rows_of(batch, new)
        if trained == 0:
            raise DataError(f"{self._name}: every example equals one in the validation split; name data.validation")
        self._judge(len(back))

    def _judge(self, back: int) -> None:
        """Say once where examples set aside did not come by again."""
        if back < MUST_RETURN * len(self._held) and not self.remark:
            self.remark = (
                f"{self._name}: {back} of {len(self._held)} examples of the validation split came by again in an "
                "epoch: their numbers change, so that some of them are trained on, too; name data.validation"
            )
            logger.warning(self.remark)

    def validation(self) -> Iterator[Any]:
        return iter(self._kept)
