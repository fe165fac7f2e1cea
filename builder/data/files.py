"""Loaders of data sets in files, for the paths in a recipe."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from legodnn.shared.bundle.manifest import InputSpec
from legodnn.shared.datasets.dataset import Dataset, Loaded, collated
from legodnn.shared.datasets.opening import open_dataset
from legodnn.shared.errors import InputError

logger = logging.getLogger(__name__)

BATCH, NUMBERS = 32, 1 << 23
"""Examples in a batch by default: at most `BATCH`, and no more than have `NUMBERS` elements (32 MiB). Not tuned."""

_SHOWN = 5
"""How many skipped examples are named; the rest are counted. Not tuned."""


@dataclass(frozen=True)
class Purpose:
    """What a data set is opened for: its key in the recipe, the application, the network's input, whether it is
    shuffled."""

    key: str
    task: str
    spec: InputSpec
    shuffled: bool


def loader(purpose: Purpose, path: str, batch: int | None = None) -> FilesLoader:
    """A loader of the data set at a path; ``batch`` examples at a time (None: as `BATCH` and `NUMBERS` allow). Raises
    what `open_dataset` raises."""
    dataset = open_dataset(purpose.task, path, purpose.spec)
    if batch is None:
        batch = max(1, min(BATCH, NUMBERS // math.prod(purpose.spec.shape[1:])))
    return FilesLoader(dataset, batch, purpose.shuffled, purpose.key)


class FilesLoader:
    """Batches of a data set, read when they are iterated over; where ``shuffled``, in a new order each time, from
    torch's global generator.

    Batches are of nearly the same size, so that none has a single example, which batch normalisation cannot be trained
    on. Examples that cannot be read are missing from their batch; the first few are named on stderr, once each.
    """

    def __init__(self, dataset: Dataset, batch: int, shuffled: bool, name: str) -> None:
        self.dataset, self.batch, self.shuffled, self.name = dataset, batch, shuffled, name
        self._batches = math.ceil(len(dataset.examples) / batch)
        self._said: set[str] = set()
        for skipped in dataset.skipped:
            self._say(f"skipped {skipped.name}: {skipped.reason}")
        self._sum_up(0)

    def part(self, numbers: Sequence[int], shuffled: bool | None = None) -> FilesLoader:
        """A loader of some examples, by their numbers; ``shuffled`` as this one by default."""
        chosen = replace(self.dataset, examples=tuple(self.dataset.examples[n] for n in numbers), skipped=())
        return FilesLoader(chosen, self.batch, self.shuffled if shuffled is None else shuffled, self.name)

    def __len__(self) -> int:
        """The number of batches, those without a readable example included."""
        return self._batches

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        """The batches, each the inputs and then the ground truths. Raises `DataError` for data that do not fit the
        network."""
        count, before = len(self.dataset.examples), len(self._said)
        order = torch.randperm(count) if self.shuffled else torch.arange(count)
        for part in torch.tensor_split(order, self._batches):
            loaded = [found for found in map(self._load, part.tolist()) if found is not None]
            if loaded:
                yield collated(loaded)
        self._sum_up(before)

    def _load(self, number: int) -> Loaded | None:
        example = self.dataset.examples[number]
        try:
            loaded = example.load()
        except InputError as error:
            skipped = self.dataset.without(example, error)
            self._say(f"skipped {skipped.name}: {skipped.reason}")
            return None
        for remark in loaded.remarks:
            self._say(f"{example.name}: {remark}")
        return loaded

    def _say(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            if len(self._said) <= _SHOWN:
                logger.warning("%s: %s", self.name, text)

    def _sum_up(self, before: int) -> None:
        """Say how many were not named, where a pass over the data has skipped more of them."""
        hidden = len(self._said) - _SHOWN
        if hidden > 0 and len(self._said) > before:
            logger.warning("%s: and %s more that are not named", self.name, hidden)
