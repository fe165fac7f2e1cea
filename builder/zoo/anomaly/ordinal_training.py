"""Self-training of networks that score frames, from footage that nobody has labelled.

Pang, Yan, Shen, van den Hengel, Bai, *Self-trained deep ordinal regression for end-to-end video anomaly detection*,
CVPR 2020: the strangest frames by the scores so far are called abnormal, the most usual ones normal, a network learns
to tell the ones from the others, its scores are the next ones. First scores are those of `FirstLook` here, which needs
no pretrained network; later ones are taken together with all before them, so that no mistake feeds itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from legodnn.builder.data.checked import CheckedLoader
from legodnn.builder.teach.fit import WEIGHT_DECAY, Stateful, finite, run_epochs
from legodnn.builder.teach.settings import Settings
from legodnn.builder.zoo.anomaly.first_look import FirstLook

ABNORMAL, NORMAL = 0.1, 0.8
"""The shares of all frames, of the highest scores and of the lowest, that may be learned from. With less of the lowest,
a network would learn that nothing may be in a frame: first scores are the higher, the more is going on."""

MORE = 3
"""So many times as many normal frames as abnormal ones are learned from in a round, drawn at random."""

SHAKE, FLICKER = 6, 0.15
"""By how many pixels frames are moved and by how much their colours change, at most: none shall be known by heart."""

KEPT_BYTES = 2 * 1024**3
"""Memory for the frames a round learns from; fewer are kept where more would be needed."""


class Chosen:
    """The frames that a round learns from: batches (frames, whether they count as abnormal), shuffled each time.

    Frames are known by their places in the loader, whose order is made the same each time it is read.
    """

    def __init__(self, loader: CheckedLoader, settings: Settings) -> None:
        self.loader, self.settings = loader, settings
        self.ranks = torch.zeros(0)
        self.places = torch.zeros(0, dtype=torch.long)
        self.abnormal = torch.zeros(0, dtype=torch.bool)
        self._frames = torch.zeros(0)

    def choose(self, model: nn.Module | None) -> None:
        """Score all frames, by a first look where there is no model, and choose those that the next round learns from.

        Raises `ModelError` for scores that are not finite.
        """
        with self._apart():
            scores = self._scores(self._first_look() if model is None else model)
            ranks = scores.argsort(stable=True).argsort() / len(scores)
            self.ranks = ranks if len(self.ranks) == 0 else self.ranks + ranks
            order = self.ranks.argsort(stable=True)
            count = max(1, round(ABNORMAL * len(order)))
            high, low = order[len(order) - count :], order[: len(order) - count][: round(NORMAL * len(order))]
            low = low[torch.randperm(len(low))[: MORE * count]]
        self.places, origin = torch.cat([high, low]).sort()
        self.abnormal = origin < count
        self._frames = torch.zeros(0)

    def state_dict(self) -> dict[str, Any]:
        """The scores so far, and what was chosen by them."""
        return {"ranks": self.ranks, "places": self.places, "abnormal": self.abnormal}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with what was chosen."""
        self.ranks, self.places, self.abnormal = state["ranks"], state["places"], state["abnormal"]
        self._frames = torch.zeros(0)

    def __len__(self) -> int:
        """How many batches there are, about as large as the loader's."""
        return math.ceil(ABNORMAL * (1 + MORE) * len(self.loader))

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches."""
        if len(self._frames) == 0:
            with self._apart():
                self._frames = self._kept()
        for part in torch.tensor_split(torch.randperm(len(self._frames)), len(self)):
            yield self._frames[part], self.abnormal[part]

    def _first_look(self) -> FirstLook:
        look = FirstLook((self.loader.shape[-2], self.loader.shape[-1])).to(self.settings.device)
        look.learn(self._read)
        return look

    def _scores(self, model: nn.Module) -> Tensor:
        """The scores (n,) of all frames."""
        model.eval()
        with torch.no_grad():
            return finite(torch.cat([model(frames).flatten().cpu() for frames in self._read()]))

    def _kept(self) -> Tensor:
        """The chosen frames, in the order of their places; the first of them where there is no room for all."""
        kept: list[Tensor] = []
        first = size = 0
        for frames in self._read():
            here = self.places[(self.places >= first) & (self.places < first + len(frames))] - first
            kept.append(frames[here.to(frames.device)].cpu())
            first, size = first + len(frames), size + kept[-1].numel() * kept[-1].element_size()
            if size > KEPT_BYTES:
                break
        return torch.cat(kept)

    def _read(self) -> Iterator[Tensor]:
        torch.manual_seed(self.settings.seed)
        for batch in self.loader:
            yield batch[0].to(self.settings.device)

    def _apart(self) -> AbstractContextManager[None]:
        """Numbers drawn in the ``with`` block make no difference to those drawn after it."""
        device = self.settings.device
        return torch.random.fork_rng([device] if device.type == "cuda" else [])


def train(model: nn.Module, loader: CheckedLoader, settings: Settings, *, each: int = 16) -> None:
    """Batches (frames (n, 3, h, w), ...) of a camera that does not move, most of them normal; labels are not looked at.

    ``model`` gives scores (n, 1), which are to be 1 for abnormal frames and 0 for normal ones. A round takes ``each``
    epochs, passes over what was chosen for it. Raises `ModelError` where the training diverges.
    """
    chosen = Chosen(loader, settings)
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, each * len(chosen))

    def begin(epoch: int) -> None:
        if epoch % each == 0:
            chosen.choose(model if epoch else None)
        model.train()

    def step(batch: Any) -> None:
        frames, abnormal = (item.to(settings.device) for item in batch)
        if len(frames) > 1:  # a single frame has no statistics to be normalised with
            scores = model(_altered(frames).contiguous(memory_format=torch.channels_last)).flatten()
            loss = finite(ordinal_error(scores, abnormal))
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
        schedule.step()

    parts: dict[str, Stateful] = {"model": model, "optimizer": optimizer, "schedule": schedule, "chosen": chosen}
    run_epochs(chosen, settings, parts, step, begin)
    model.eval()


def ordinal_error(scores: Tensor, abnormal: Tensor) -> Tensor:
    """The mean squared distance of scores (n,) from 1 where ``abnormal``, bool (n,), and from 0 elsewhere; both count
    the same, however few there are of one.

    The paper's distance is not squared. Then nearly all scores end at 0 or 1, and what little sets them apart there is
    lost in descendants; squared, a score is the share of abnormal ones among frames alike.
    """
    high, low = (scores - 1).square()[abnormal], scores.square()[~abnormal]
    return high.sum() / max(1, len(high)) + low.sum() / max(1, len(low))


def _altered(frames: Tensor) -> Tensor:
    """Frames as if the camera shook, the light changed and, every other time, the place were mirrored; what comes in at
    the edges is what was there."""
    count, colours, height, width = frames.shape
    down, right = torch.randint(2 * SHAKE + 1, (2,)).tolist()
    padded = F.pad(frames, (SHAKE, SHAKE, SHAKE, SHAKE), mode="replicate")
    moved = padded[:, :, down : down + height, right : right + width]
    stronger, lighter = (FLICKER * (2 * torch.rand(2, count, colours, 1, 1) - 1)).to(frames.device)
    lit: Tensor = moved * (1 + stronger) + lighter
    return lit.flip(3) if torch.rand(1).item() < 0.5 else lit
