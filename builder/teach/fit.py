"""Training of teachers, by epochs; an interrupted run goes on after its last one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import torch
import torch.nn as nn
from torch import Tensor

from legodnn.builder.data.checked import CheckedLoader
from legodnn.builder.teach.settings import Settings
from legodnn.builder.workdir.files import load_tensors, save_tensors
from legodnn.builder.workdir.log import EVERY, note
from legodnn.builder.workdir.progress import progress
from legodnn.builder.workdir.seeds import seed_epoch
from legodnn.shared.errors import ModelError

WEIGHT_DECAY = 1e-4
"""Of Adam, added to the gradient. Not tuned."""


class Batches(Protocol):
    """A loader that knows how many batches it has."""

    def __len__(self) -> int:
        """How many."""

    def __iter__(self) -> Iterator[Any]:
        """The batches, from the first on each time."""


class Stateful(Protocol):
    """A part of the training state: a network, an optimiser, a schedule."""

    def state_dict(self) -> Any:
        """The state."""

    def load_state_dict(self, state: Any) -> Any:
        """Restore the state."""


Loss = Callable[[nn.Module, Any], Tensor]
"""The loss of a network on a batch of the loader."""


def run_epochs(
    loader: Batches,
    settings: Settings,
    parts: Mapping[str, Stateful],
    step: Callable[[Any], Tensor | None],
    begin: Callable[[int], None] = lambda epoch: None,
) -> None:
    """Call ``begin`` with the number of every epoch, and ``step``, which returns the loss, with every batch of it.

    The state of all ``parts`` is saved after each epoch, and everything random is seeded anew before each, so
    that an interrupted training ends with the same weights. Raises `WorkError` for a damaged checkpoint.
    """
    first = 0
    if settings.checkpoint.exists():
        saved = load_tensors(settings.checkpoint)
        for name, part in parts.items():
            part.load_state_dict(saved[name])
        first = saved["epoch"]
    with progress("teacher", max(0, settings.epochs - first) * len(loader)) as bar:
        for epoch in range(first, settings.epochs):
            seed_epoch(loader, settings.seed, epoch)
            begin(epoch)
            for number, batch in enumerate(loader):
                loss = step(batch)
                bar.advance()
                if loss is not None and number % EVERY == 0:
                    rates = [p.param_groups[0]["lr"] for p in parts.values() if isinstance(p, torch.optim.Optimizer)]
                    note("teacher", epoch=epoch, step=number, rate=rates[0] if rates else None, loss=float(loss))
            states = {name: part.state_dict() for name, part in parts.items()}
            save_tensors(settings.checkpoint, {"epoch": epoch + 1, **states})


def finite(loss: Tensor) -> Tensor:
    """The loss, unchanged. Raises `ModelError` for one that is not finite."""
    if not bool(loss.detach().isfinite().all()):
        raise ModelError("the teacher's training diverged; try a smaller teacher.learning_rate")
    return loss


class _OneCycle(torch.optim.lr_scheduler.OneCycleLR):
    """Torch's schedule with a state of plain values: in torch 2.1 that holds one of its functions as well."""

    def state_dict(self) -> dict[str, Any]:
        """Everything to be remembered; the function is there anyway."""
        return {name: value for name, value in super().state_dict().items() if not callable(value)}


def fit(
    model: nn.Module,
    loader: CheckedLoader,
    loss: Loss,
    settings: Settings,
    optimizer: torch.optim.Optimizer | None = None,
) -> None:
    """Train ``model`` in place at a rate that rises for 30 % of the steps and then falls to zero (torch's one-cycle
    schedule).

    Without an ``optimizer``, of all the model's parameters, it is Adam. Raises `ModelError` for a loss that is not
    finite.
    """
    steps = max(1, settings.epochs * len(loader))
    if optimizer is None:
        optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate, weight_decay=WEIGHT_DECAY)
    schedule = _OneCycle(optimizer, settings.learning_rate, total_steps=steps)
    model.train()

    def step(batch: Any) -> Tensor:
        value = finite(loss(model, batch))
        optimizer.zero_grad()
        torch.autograd.backward(value)
        optimizer.step()
        schedule.step()
        return value.detach()

    run_epochs(loader, settings, {"model": model, "optimizer": optimizer, "schedule": schedule}, step)
    model.eval()
