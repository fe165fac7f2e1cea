"""Loaders of data sets with indices: which a pass reads, and loaders of some of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import BatchSampler, DataLoader, IterableDataset

from legodnn.builder.data.checked import CheckedLoader
from legodnn.builder.data.files import FilesLoader
from legodnn.shared.errors import DataError


def has_indices(loader: Any) -> bool:
    """Whether it is known how a loader, not a `CheckedLoader`, uses indices: one of files, or torch's own of a data set
    that has them."""
    if isinstance(loader, FilesLoader):
        return True
    return type(loader) is DataLoader and loader.batch_sampler is not None and not _iterable(loader.dataset)


def _iterable(dataset: Any) -> bool:
    return isinstance(dataset, IterableDataset) or not hasattr(dataset, "__getitem__")


def indices_of(loader: Any) -> Iterator[int]:
    """The indices that a pass over such a loader reads, in its order."""
    if isinstance(loader, FilesLoader):
        yield from range(len(loader.dataset.examples))
    else:
        for batch in loader.batch_sampler:
            yield from batch


def drawn(count: int, seed: int) -> list[int]:
    """The numbers below ``count`` in an order drawn by the seed, apart from torch's own random numbers."""
    order: list[int] = torch.randperm(count, generator=torch.Generator().manual_seed(seed)).tolist()
    return order


def without(loader: Any, held: Sequence[int]) -> Any:
    """Such a loader without some indices."""
    if isinstance(loader, FilesLoader):
        return loader.part(sorted(set(indices_of(loader)) - set(held)))
    return _like(loader, batch_sampler=_Without(loader.batch_sampler, frozenset(held)))


def only(loader: Any, held: Sequence[int]) -> Any:
    """A loader of some indices of such a loader, in their order."""
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


def length(loader: Any) -> int | None:
    """The number of batches, where the loader knows it. Raises `DataError` for a number that is none."""
    inner: Any = loader.loader if isinstance(loader, CheckedLoader) else loader
    try:
        return len(inner)
    except TypeError:
        return None
    except (ValueError, OverflowError) as error:
        raise DataError(f"{name_of(loader)}: {error}") from error


def name_of(loader: Any) -> str:
    """What messages call a loader: the key of the recipe, where it is checked."""
    return loader.name if isinstance(loader, CheckedLoader) else "the training loader"


def around(loader: Any, inner: Any) -> Any:
    """The inner loader, with the checks of ``loader`` where that is a `CheckedLoader`."""
    return loader.around(inner) if isinstance(loader, CheckedLoader) else inner
