"""The teacher judged on the first batches of the test data: once by the profile, and once more when it is packed.

Where the two disagree, the profile was measured on other images, other labels or another teacher than those that are
packed, whatever the work directory says about it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

from legodnn.builder.managers.abstract import AbstractModelManager, Device
from legodnn.shared.errors import DataError

BATCHES = 4
"""Batches that are judged twice, where the metric is defined on so few. Not tuned: of the usual 32 to 128 images each,
so that a second look takes seconds and swapped labels cannot be overlooked."""

AGREES = 0.01
"""The largest difference in accuracy that counts as agreement; one and a half images where they are few, since rounding
on another processor can move an answer across a border. Not tuned."""

_SAME = 1e-6
"""The largest relative difference of two checksums of the same images, which are sums in double precision. Not
tuned."""


@dataclass(frozen=True)
class Recheck:
    """The teacher on the first ``batches`` batches (None: on all, where fewer cannot be judged).

    ``images`` is their number, ``accuracy`` the manager's, ``checks`` holds a checksum for each of the first `BATCHES`
    batches, ``seed`` is torch's before the pass, on which the order of a loader that shuffles depends.
    """

    batches: int | None
    images: int
    accuracy: float
    seed: int
    checks: tuple[float, ...]


def judged(manager: AbstractModelManager, teacher: nn.Module, loader: Iterable[Any], device: Device) -> Recheck:
    """Judge the teacher on the first batches of a loader that the manager has judged as a whole already."""
    seed = torch.initial_seed()
    try:
        return _judged(manager, teacher, loader, device, BATCHES, seed)
    except Exception:  # a metric may be undefined on a few batches, as AUROC is where one kind comes first
        return _judged(manager, teacher, loader, device, None, seed)


def require_agreement(
    found: Recheck, manager: AbstractModelManager, teacher: nn.Module, loader: Iterable[Any], device: Device
) -> None:
    """Judge the teacher once more. Raises `DataError` where images or accuracy are not those that were ``found``."""
    with torch.random.fork_rng(devices=[]):
        again = _judged(manager, teacher, loader, device, found.batches, found.seed)
    same = again.images == found.images and len(again.checks) == len(found.checks)
    if not same or not all(map(_same, again.checks, found.checks)):
        raise DataError(
            "data.test: its first batches are not those that the profile was measured on; "
            "profile again with the data that are packed (another --work makes everything anew)"
        )
    if not abs(again.accuracy - found.accuracy) <= max(AGREES, 1.5 / max(1, found.images)):
        raise DataError(
            f"data.test: the teacher's {manager.metric} on its first {found.images} images is {again.accuracy:.2%}, "
            f"but {found.accuracy:.2%} in the profile: labels or weights have changed since it was made; "
            "another --work makes everything anew"
        )


def checksum(inputs: Sequence[Tensor]) -> float:
    """A checksum of a batch."""
    return sum(float(x.double().sum()) + x.shape[0] for x in inputs)


def _same(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=_SAME, abs_tol=_SAME)


def _judged(
    manager: AbstractModelManager,
    teacher: nn.Module,
    loader: Iterable[Any],
    device: Device,
    batches: int | None,
    seed: int,
) -> Recheck:
    network = _Counting(teacher)
    torch.manual_seed(seed)
    with torch.no_grad():
        accuracy = float(manager.get_model_acc(network.eval(), _First(loader, batches), device))
    return Recheck(batches, network.images, accuracy, seed, tuple(network.checks[:BATCHES]))


class _First:
    """The first batches of a loader; all for None."""

    def __init__(self, loader: Iterable[Any], batches: int | None) -> None:
        self.loader = loader
        self.batches = batches

    def __len__(self) -> int:
        known = len(self.loader)  # type: ignore[arg-type]
        return known if self.batches is None else min(known, self.batches)

    def __iter__(self) -> Iterator[Any]:
        return itertools.islice(iter(self.loader), self.batches)


class _Counting(nn.Module):
    """A network that counts its images and keeps a checksum of every batch."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.images = 0
        self.checks: list[float] = []

    def forward(self, *inputs: Tensor) -> Any:
        self.images += inputs[0].shape[0]
        self.checks.append(checksum(inputs))
        return self.network(*inputs)
