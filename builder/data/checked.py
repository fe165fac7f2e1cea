"""A loader that says what is wrong with its batches before a network chokes on them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from legodnn.builder.graph.trace import one_line
from legodnn.shared.errors import DataError


class CheckedLoader:
    """Passes on the batches of ``loader``; raises `DataError` for the first that the network cannot take.

    Where a batch is a tuple or list, its first item is taken for the input: float32 of the recipe's shape, any batch
    size, finite. Batches of other kinds are the model manager's business and pass unchecked.
    """

    def __init__(self, loader: Iterable[Any], input_shape: Sequence[int], name: str) -> None:
        self.loader = loader
        self.shape = tuple(input_shape)
        self.name = name

    def __len__(self) -> int:
        """The number of batches, counted where the loader does not know it."""
        try:
            return len(self.loader)  # type: ignore[arg-type]
        except TypeError:
            return sum(1 for _ in self.loader)

    def __iter__(self) -> Iterator[Any]:
        """The loader's batches, each checked."""
        number = 0
        batches = iter(self.loader)
        while True:
            try:
                batch = next(batches, None)
            except DataError:
                raise
            except Exception as error:
                reason = f"{type(error).__name__}: {one_line(error)}"
                raise DataError(f"{self.name}: failed at batch {number}: {reason}") from error
            if batch is None:
                break
            self._check(number, batch)
            number += 1
            yield batch
        if number == 0:
            raise DataError(f"{self.name}: the loader yields no batches")

    def _check(self, number: int, batch: Any) -> None:
        if not isinstance(batch, (tuple, list)):
            return
        where = f"{self.name}: batch {number}"
        if not batch or not isinstance(batch[0], Tensor):
            raise DataError(f"{where}: (inputs, labels) expected")
        inputs = batch[0]
        if inputs.dtype != torch.float32:
            raise DataError(f"{where}: inputs are {inputs.dtype}, the network takes torch.float32")
        if tuple(inputs.shape[1:]) != self.shape[1:] or inputs.dim() != len(self.shape):
            wanted = ("n", *self.shape[1:])
            raise DataError(f"{where}: inputs have shape {tuple(inputs.shape)}, the recipe says {_text(wanted)}")
        if inputs.shape[0] == 0:
            raise DataError(f"{where}: empty")
        if not bool(torch.isfinite(inputs).all()):
            raise DataError(f"{where}: inputs hold numbers that are not finite")
        if len(batch) > 1 and isinstance(batch[1], Tensor) and len(batch[1]) != len(inputs):
            raise DataError(f"{where}: {len(inputs)} inputs but {len(batch[1])} labels")


def _text(shape: Sequence[Any]) -> str:
    return "(" + ", ".join(str(s) for s in shape) + ")"
