"""Labels that a network has no score for, found without decoding a data set where that is possible."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from legodnn.shared.errors import DataError


def check_label(where: str, labels: Any, classes: int, ignored: int | None = None) -> None:
    """Raise `DataError` for a label below 0 or from ``classes`` on, but for the ``ignored`` one; what is no tensor of
    whole numbers is not looked at."""
    if not isinstance(labels, Tensor) or labels.is_floating_point() or labels.is_complex():
        return
    wrong = labels[(labels < 0) | (labels >= classes)]
    if ignored is not None:
        wrong = wrong[wrong != ignored]
    if len(wrong):
        raise DataError(f"{where}: a label is {int(wrong[0])}, the network knows 0 to {classes - 1}")


def check_known_labels(loader: Iterable[Any], name: str, classes: int) -> bool:
    """Check the labels that a loader, or its data set, holds in memory; whether it does.

    Those of a data set are its ``targets`` or ``labels``, or the second of its ``tensors``. What a data set makes of
    them is not known, so that a label out of range counts once its example, which is loaded, has it. Raises
    `DataError`.
    """
    if isinstance(loader, (list, tuple)):
        batches = [(n, batch[1]) for n, batch in enumerate(loader) if isinstance(batch, (list, tuple)) and batch[1:]]
        for number, labels in batches:
            check_label(f"{name}: batch {number}", labels, classes)
        return True
    if not isinstance(loader, DataLoader):
        return False
    labels = _held(loader.dataset)
    if labels is None:
        return False
    for number in ((labels < 0) | (labels >= classes)).nonzero().flatten()[:1].tolist():
        check_label(f"{name}: example {number}", torch.as_tensor(loader.dataset[number][1]), classes)
    return True


def _held(dataset: Any) -> Tensor | None:
    """The labels that a data set holds, int64 (examples,); None for one that is not known to hold any."""
    if isinstance(dataset, Subset):
        whole = _held(dataset.dataset)
        return None if whole is None else whole[torch.as_tensor(dataset.indices, dtype=torch.long)]
    tensors = getattr(dataset, "tensors", None)
    if isinstance(tensors, Sequence) and len(tensors) > 1:
        found = tensors[1]
    else:
        found = getattr(dataset, "targets", getattr(dataset, "labels", None))
    if isinstance(found, (list, tuple)) and all(type(label) is int for label in found):
        found = torch.tensor(found)
    if not isinstance(found, Tensor) or found.is_floating_point() or found.dim() != 1 or len(found) != len(dataset):
        return None
    return found.long()
