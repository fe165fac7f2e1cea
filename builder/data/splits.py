"""The training data in two parts: what descendants learn from, and a validation split that they never see.

A data set with indices is split by them; of any other iterable the examples of the first batches are set aside, and
left out wherever they come by again, known by a checksum.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch.utils.data import BatchSampler, DataLoader, IterableDataset

from legodnn.builder.data.checked import CheckedLoader
from legodnn.builder.data.files import FilesLoader
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
    if isinstance(inner, FilesLoader) or _has_indices(inner):
        return _by_index(loader, inner, seed)
    return _ByChecksum(loader, seed)


def _has_indices(loader: Any) -> bool:
    """Whether a loader is torch's own, of a data set with indices: only then is it known how it uses them."""
    return type(loader) is DataLoader and loader.batch_sampler is not None and not _iterable(loader.dataset)


def _iterable(dataset: Any) -> bool:
    return isinstance(dataset, IterableDataset) or not hasattr(dataset, "__getitem__")


def _length(loader: Any) -> int | None:
    """The number of batches, where the loader knows it."""
    inner: Any = loader.loader if isinstance(loader, CheckedLoader) else loader
    try:
        return len(inner)
    except TypeError:
        return None


def _count(loader: Iterable[Any], name: str) -> int:
    known = _length(loader)
    count = sum(1 for _ in loader) if known is None else known
    if count == 0:
        raise DataError(f"{name}: the loader yields no batches")
    return count


def _name(loader: Any) -> str:
    return loader.name if isinstance(loader, CheckedLoader) else "the training loader"


class _TwoLoaders(Split):
    """A loader for each part."""

    def __init__(self, training: Iterable[Any], held: Iterable[Any], seed: int) -> None:
        self._training, self._held, self._seed = training, held, seed
        self.batches = _count(training, _name(training))

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
    used = sorted(set(_indices(inner)))
    if len(used) < 2:
        raise DataError(f"{_name(loader)}: {len(used)} examples; at least 2 are needed, one of them to validate on")
    drawn = torch.randperm(len(used), generator=torch.Generator().manual_seed(seed)).tolist()
    held = [used[i] for i in drawn[: max(1, round(VALIDATION_SHARE * len(used)))]]
    return _TwoLoaders(_checked(loader, _without(inner, held)), _checked(loader, _only(inner, held)), seed)


def _indices(loader: Any) -> Iterator[int]:
    if isinstance(loader, FilesLoader):
        yield from range(len(loader.dataset.examples))
    else:
        for batch in loader.batch_sampler:
            yield from batch


def _without(loader: Any, held: list[int]) -> Any:
    """The loader without some indices."""
    if isinstance(loader, FilesLoader):
        return loader.part(sorted(set(_indices(loader)) - set(held)))
    return _like(loader, batch_sampler=_Without(loader.batch_sampler, frozenset(held)))


def _only(loader: Any, held: list[int]) -> Any:
    """A loader of some indices, in their order."""
    if isinstance(loader, FilesLoader):
        return loader.part(held, shuffled=False)
    size = loader.batch_size or max(len(batch) for batch in loader.batch_sampler)
    return _like(loader, batch_sampler=BatchSampler(held, size, drop_last=False))


def _like(loader: DataLoader[Any], batch_sampler: Any) -> DataLoader[Any]:
    return DataLoader(
        loader.dataset,
        batch_sampler=batch_sampler,
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory,
        timeout=loader.timeout,
        worker_init_fn=loader.worker_init_fn,
        multiprocessing_context=loader.multiprocessing_context,
        generator=loader.generator,
        prefetch_factor=loader.prefetch_factor if loader.num_workers else None,
    )


def _checked(loader: Any, inner: Any) -> Any:
    return loader.around(inner) if isinstance(loader, CheckedLoader) else inner


class _Without:
    """The batches of a batch sampler without some indices; torch's own is filled up again to its size."""

    def __init__(self, sampler: Any, held: frozenset[int]) -> None:
        self._sampler, self._held = sampler, held
        self.sampler = getattr(sampler, "sampler", None)
        self.generator = getattr(self.sampler, "generator", None) or getattr(sampler, "generator", None)
        self._length = sum(1 for _ in self)

    def __len__(self) -> int:
        return self._length

    def set_epoch(self, epoch: int) -> None:
        """Tell the samplers inside the epoch."""
        for owner in (self.sampler, self._sampler):
            set_epoch = getattr(owner, "set_epoch", None)
            if callable(set_epoch):
                set_epoch(epoch)

    def __iter__(self) -> Iterator[list[int]]:
        size = self._sampler.batch_size if type(self._sampler) is BatchSampler else None
        buffered: list[int] = []
        for batch in self._sampler:
            buffered += [index for index in batch if index not in self._held]
            if buffered and (size is None or len(buffered) >= size):
                yield buffered[:size]
                buffered = buffered[size:] if size else []
        while buffered and size:
            yield buffered[:size]
            buffered = buffered[size:]


# ---- any other iterable ---------------------------------------------------------------------------------------------
class _ByChecksum(Split):
    """The examples of the first batches of one pass."""

    def __init__(self, loader: Iterable[Any], seed: int) -> None:
        self._loader, self._seed, self._name = loader, seed, _name(loader)
        self._kept = self._set_aside()
        self._held = {number for batch in self._kept for number in checksums(batch)}
        self.batches = _count(loader, self._name)

    def _set_aside(self) -> list[Any]:
        """The first batches of a pass, with as many examples as the validation split has."""
        seed_epoch(self._loader, self._seed, 0)
        first: list[Any] = []
        seen, known = 0, _length(self._loader)
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
