"""`Dataset`: examples by name, and skipped items; `Classes`: names -> numbers."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Callable, Sequence, Tuple

import torch
from torch import Tensor

from legodnn.shared.errors import DataError, InputError
from legodnn.shared.naming import few


@dataclass(frozen=True)
class Loaded:
    """An example in memory: the network's input, a batch of one, and the truths as the application's meter takes them.

    ``remarks`` are texts about parts that were skipped or replaced.
    """

    inputs: Tensor
    truths: Tuple[Any, ...]
    remarks: Tuple[str, ...] = ()


@dataclass(frozen=True)
class Example:
    """One example; ``load`` reads it, and raises `InputError` for a broken example, `DataError` where the data set does
    not
    fit the network."""

    name: str
    load: Callable[[], Loaded]


@dataclass(frozen=True)
class Skipped:
    """A skipped item, and the reason."""

    name: str
    reason: str


@dataclass(frozen=True)
class Dataset:
    """The examples at ``path``, and items skipped when it was opened."""

    path: str
    examples: Tuple[Example, ...]
    skipped: Tuple[Skipped, ...] = ()

    def without(self, example: Example, error: InputError) -> Skipped:
        """The skipped item for an example that could not be loaded, with its file named once."""
        reason = str(error).replace(self.path + os.sep, "")
        start = f"{example.name}: "
        return Skipped(example.name, reason[len(start) :] if reason.startswith(start) else reason)


def collated(loaded: Sequence[Loaded]) -> Tuple[Any, ...]:
    """A batch of examples as loaders yield it: the inputs, then the truths."""
    parts = [(example.inputs, *example.truths) for example in loaded]
    return tuple(
        torch.cat(column) if isinstance(column[0], Tensor) else [item for items in column for item in items]
        for column in zip(*parts)
    )


class Classes:
    """Numbers of classes by name: indices in the network's ``labels``, from ``first`` on.

    Without labels, names must be numbers, since any order of names might be wrong.
    """

    def __init__(self, labels: Sequence[str], first: int = 0) -> None:
        self.labels, self.first = tuple(labels), first

    def number(self, name: str, where: str) -> int:
        """The number of a class named in ``where``. Raises `DataError` for one the network does not have."""
        places = [i for i, label in enumerate(self.labels) if label == name and i >= self.first]
        if len(places) == 1:
            return places[0]
        if places:
            raise DataError(f"{where}: '{name}' is the label of {len(places)} of the network's classes")
        if self.labels:
            known = few(self.labels[self.first :])
            raise DataError(f"{where}: class '{name}' is none of the network's labels ({known})")
        if name.isascii() and name.isdecimal() and int(name) >= self.first:
            return int(name)
        raise DataError(
            f"{where}: the network has no labels, so nothing says which of its classes '{name}' is; "
            f"give it labels (bundle.labels), or name classes by number, from {self.first} on"
        )

