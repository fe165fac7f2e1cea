"""Data sets in files as loaders: what a path in a recipe becomes."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from legodnn.shared.bundle.manifest import InputSpec
from legodnn.shared.datasets.dataset import Dataset, Loaded, collated
from legodnn.shared.datasets.opening import open_dataset
from legodnn.shared.errors import InputError

BATCH, NUMBERS = 32, 1 << 23
"""Examples in a batch where the recipe says nothing: at most so many, and no more than hold so many numbers."""

_SHOWN = 5
"""How many examples are named that were left out."""


@dataclass(frozen=True)
class Purpose:
    """What a data set is for: its key in the recipe, the application, the network's input, whether it is shuffled."""

    key: str
    task: str
    spec: InputSpec
    shuffled: bool


def loader(purpose: Purpose, path: str, batch: int | None = None) -> FilesLoader:
    """A loader of the data set at a path; ``batch`` examples at a time. Raises what `open_dataset` raises."""
    dataset = open_dataset(purpose.task, path, purpose.spec)
    if batch is None:
        batch = max(1, min(BATCH, NUMBERS // math.prod(purpose.spec.shape[1:])))
    return FilesLoader(dataset, batch, purpose.shuffled, purpose.key)


class FilesLoader:
    """Batches of a data set, read when they are needed; shuffled anew each time, by torch's generator, if so asked.

    Batches are of nearly the same size, so that none is left with a single example, which networks cannot be trained
    on. Broken examples are missing from their batch; each is named once on stderr, the first few of them.
    """

    def __init__(self, dataset: Dataset, batch: int, shuffled: bool, name: str) -> None:
        self.dataset, self.shuffled, self.name = dataset, shuffled, name
        self._batches = math.ceil(len(dataset.examples) / batch)
        self._said: set[str] = set()
        for skipped in dataset.skipped:
            self._say(f"skipped {skipped.name}: {skipped.reason}")
        self._sum_up(0)

    def __len__(self) -> int:
        """How many batches there are, those included in which everything is broken."""
        return self._batches

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        """The batches, each the inputs and then the truths. Raises `DataError` for data that are not the network's."""
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
                print(f"{self.name}: {text}", file=sys.stderr)

    def _sum_up(self, before: int) -> None:
        """How many were not named, where a pass over the data has found more of them."""
        hidden = len(self._said) - _SHOWN
        if hidden > 0 and len(self._said) > before:
            print(f"{self.name}: and {hidden} more that are not named", file=sys.stderr)
