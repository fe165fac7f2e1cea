"""What every data set is: examples by name, and what had to be left out."""

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

    ``remarks`` say what of it was left out, or made up for.
    """

    inputs: Tensor
    truths: Tuple[Any, ...]
    remarks: Tuple[str, ...] = ()


@dataclass(frozen=True)
class Example:
    """One example; ``load`` reads it, and raises `InputError` where it is broken, `DataError` where it shows that the
    data set is not for this network."""

    name: str
    load: Callable[[], Loaded]


@dataclass(frozen=True)
class Skipped:
    """Something that was left out, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Dataset:
    """The examples at ``path``, and what was left out when it was opened."""

    path: str
    examples: Tuple[Example, ...]
    skipped: Tuple[Skipped, ...] = ()

    def without(self, example: Example, error: InputError) -> Skipped:
        """An example that is left out because loading it failed; its file is named once."""
        reason = str(error).replace(self.path + os.sep, "")
        start = f"{example.name}: "
        return Skipped(example.name, reason[len(start) :] if reason.startswith(start) else reason)


def collated(loaded: Sequence[Loaded]) -> Tuple[Any, ...]:
    """A batch of all of them as loaders give it: the inputs, then the truths."""
    parts = [(example.inputs, *example.truths) for example in loaded]
    return tuple(
        torch.cat(column) if isinstance(column[0], Tensor) else [item for items in column for item in items]
        for column in zip(*parts)
    )


class Classes:
    """Numbers of classes by name, as a network knows them: places in its ``labels``, from ``first`` on.

    Where a network has no labels, classes are known by their numbers alone: any other order might be the wrong one.
    """

    def __init__(self, labels: Sequence[str], first: int = 0) -> None:
        self.labels, self.first = tuple(labels), first

    def number(self, name: str, where: str) -> int:
        """The number of a class that ``where`` names. Raises `DataError` for one that cannot be the network's."""
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

