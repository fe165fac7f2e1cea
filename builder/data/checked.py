"""A loader that checks its batches before a network runs on them, so that the error names the batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from legodnn.builder.data.labels import check_label
from legodnn.builder.workdir.faults import told
from legodnn.shared.errors import DataError, is_shortage, one_line


class CheckedLoader:
    """Passes on the batches of ``loader``; raises `DataError` for the first that does not fit the network.

    Where a batch is a tuple or list, its first ``inputs`` items are the network's inputs: float32 of the recipe's
    shape, any batch size, finite. Batches of other kinds, which only the model manager can read, are not checked,
    unless ``pairs`` says that each must be (inputs, labels) with one whole number per input, as classification has it.
    ``batch_bytes`` is the most that the inputs of a batch have taken so far, 0 where that is not known. Where
    ``classes`` is set, whole numbers behind the inputs are labels below it, or the ``ignored`` one.
    """

    def __init__(
        self, loader: Iterable[Any], input_shape: Sequence[int], name: str, *, inputs: int = 1, pairs: bool = False
    ) -> None:
        self.loader = loader
        self.inputs = inputs
        self.shape = tuple(input_shape)
        self.name = name
        self.pairs = pairs
        self.classes: int | None = None
        self.ignored: int | None = None
        self.batch_bytes = 0

    def around(self, loader: Iterable[Any]) -> CheckedLoader:
        """The same checks of another loader's batches."""
        found = CheckedLoader(loader, self.shape, self.name, inputs=self.inputs, pairs=self.pairs)
        found.classes, found.ignored = self.classes, self.ignored
        return found

    def __len__(self) -> int:
        """The number of batches, counted where the loader does not know it."""
        try:
            return len(self.loader)  # type: ignore[arg-type]
        except TypeError:
            return sum(1 for _ in self.loader)

    def __iter__(self) -> Iterator[Any]:
        """The loader's batches, each checked."""
        number = -1
        for number, batch in enumerate(self._batches()):
            self._check(number, batch)
            yield batch
        if number < 0:
            raise DataError(f"{self.name}: the loader yields no batches")

    def _batches(self) -> Iterator[Any]:
        """The loader's batches; an exception inside it becomes a `DataError` of one line, or a `MemoryError`."""
        number = 0
        try:
            for batch in self.loader:
                yield batch
                number += 1
        except Exception as error:
            # GeneratorExit is no Exception, so a reader that stops early raises nothing.
            if is_shortage(error):
                short = f"{self.name}: batch {number} does not fit into memory; make its batches smaller"
                raise MemoryError(short) from error
            raise DataError(f"{self.name}: failed at batch {number}: {_reason(error)}") from error

    def _check(self, number: int, batch: Any) -> None:
        where = f"{self.name}: batch {number}"
        if self.pairs and (not isinstance(batch, (tuple, list)) or len(batch) != 2):
            size = f" of {len(batch)}" if isinstance(batch, (tuple, list)) else ""
            raise DataError(f"{where}: a pair (inputs, labels) expected, not {type(batch).__name__}{size}")
        if not isinstance(batch, (tuple, list)):
            return
        if len(batch) < self.inputs:
            raise DataError(f"{where}: {len(batch)} items, but the network takes {self.inputs} inputs")
        for item in batch[: self.inputs]:
            if not isinstance(item, Tensor):
                raise DataError(f"{where}: (inputs, labels) expected, inputs as a tensor, not {type(item).__name__}")
            self._check_inputs(where, item)
        self.batch_bytes = max(self.batch_bytes, sum(x.numel() * x.element_size() for x in batch[: self.inputs]))
        if self.pairs:
            self._check_labels(where, batch[1])
        if self.classes is not None and len(batch) > self.inputs:
            check_label(where, batch[self.inputs], self.classes, self.ignored)
        if len(batch) > 1 and isinstance(batch[1], Tensor) and batch[1].dim() and len(batch[1]) != len(batch[0]):
            raise DataError(f"{where}: {len(batch[0])} inputs but {len(batch[1])} labels")

    def _check_inputs(self, where: str, inputs: Tensor) -> None:
        if inputs.dtype != torch.float32:
            raise DataError(f"{where}: inputs are {inputs.dtype}, the network takes torch.float32")
        if tuple(inputs.shape[1:]) != self.shape[1:] or inputs.dim() != len(self.shape):
            wanted = ("n", *self.shape[1:])
            raise DataError(f"{where}: inputs have shape {tuple(inputs.shape)}, the recipe says {_text(wanted)}")
        if inputs.shape[0] == 0:
            raise DataError(f"{where}: empty")
        # The sum is not finite where an element is not, and takes less time than testing every element.
        if not bool(inputs.sum().isfinite()) and not bool(inputs.isfinite().all()):
            raise DataError(f"{where}: inputs hold numbers that are not finite")

    def _check_labels(self, where: str, labels: Any) -> None:
        if not isinstance(labels, Tensor) or labels.dim() != 1 or labels.is_floating_point():
            found = f"{labels.dtype} {_text(labels.shape)}" if isinstance(labels, Tensor) else type(labels).__name__
            raise DataError(f"{where}: labels must be a tensor of whole numbers, one per input, not {found}")


def _text(shape: Sequence[Any]) -> str:
    return "(" + ", ".join(str(s) for s in shape) + ")"


def _reason(error: Exception) -> str:
    """The error in one line; that of a loader's worker process is a traceback, whose last line has the message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if len(lines) > 1 and "worker process" in lines[0]:
        return lines[-1]
    return one_line(error) if isinstance(error, DataError) else told(error)
