"""Self-training of networks that score frames, on footage without labels.

Pang, Yan, Shen, van den Hengel, Bai, *Self-trained deep ordinal regression for end-to-end video anomaly detection*,
CVPR 2020: the frames with the highest scores are labelled abnormal, those with the lowest normal, a network is trained
on these labels, and its scores are the next ones. The initial scores are those of `FirstLook` here, which needs no
pretrained network; later ones are ranks summed over all rounds, so that a mistake of one does not reinforce itself.
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
"""The shares of frames, with the highest and the lowest scores, that are labelled. Not tuned; the lowest must be a
large share, since initial scores rise with whatever is in a frame and empty frames alone would count as normal."""

MORE = 3
"""Normal frames for each abnormal one in a round, drawn at random. Not tuned."""

SHAKE, FLICKER = 6, 0.15
"""The most that frames are shifted, in pixels, and that their colours change, against overfitting. Not tuned."""

KEPT_BYTES = 2 * 1024**3
"""Memory for the frames of a round; fewer are used where they would take more. Not tuned."""


class Chosen:
    """The labelled frames of a round: batches (frames, whether they count as abnormal), shuffled in every pass.

    Frames are identified by their positions in the loader; torch is seeded before each pass so that its order is one.
    """

    def __init__(self, loader: CheckedLoader, settings: Settings) -> None:
        self.loader, self.settings = loader, settings
        self.ranks = torch.zeros(0)
        self.places = torch.zeros(0, dtype=torch.long)
        self.abnormal = torch.zeros(0, dtype=torch.bool)
        self._frames = torch.zeros(0)

    def choose(self, model: nn.Module | None) -> None:
        """Score all frames, by `FirstLook` where there is no model, and choose those of the next round.

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
        """The summed ranks, and the frames chosen by them."""
        return {"ranks": self.ranks, "places": self.places, "abnormal": self.abnormal}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the chosen frames."""
        self.ranks, self.places, self.abnormal = state["ranks"], state["places"], state["abnormal"]
        self._frames = torch.zeros(0)

    def __len__(self) -> int:
        """The number of batches, of about the loader's size."""
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
        """The chosen frames, in the loader's order; the first of them where all would take more than `KEPT_BYTES`."""
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
        """Restores torch's random state after the ``with`` block."""
        device = self.settings.device
        return torch.random.fork_rng([device] if device.type == "cuda" else [])


def train(model: nn.Module, loader: CheckedLoader, settings: Settings, *, each: int = 16) -> None:
    """Batches (frames (n, 3, h, w), ...) of a camera that does not move, most of them normal; labels are not used.

    ``model`` gives scores (n, 1), which are to be 1 for abnormal frames and 0 for normal ones. A round takes ``each``
    epochs, passes over the frames chosen for it. Trains ``model`` in place. Raises `ModelError` where the training
    diverges.
    """
    chosen = Chosen(loader, settings)
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, each * len(chosen))

    def begin(epoch: int) -> None:
        if epoch % each == 0:
            chosen.choose(model if epoch else None)
        model.train()

    def step(batch: Any) -> Tensor | None:
        frames, abnormal = (item.to(settings.device) for item in batch)
        if len(frames) > 1:  # a single frame has no statistics to be normalised with
            scores = model(_altered(frames).contiguous(memory_format=torch.channels_last)).flatten()
            loss = finite(ordinal_error(scores, abnormal))
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
            return loss.detach()
        schedule.step()
        return None

    parts: dict[str, Stateful] = {"model": model, "optimizer": optimizer, "schedule": schedule, "chosen": chosen}
    run_epochs(chosen, settings, parts, step, begin)
    model.eval()


def ordinal_error(scores: Tensor, abnormal: Tensor) -> Tensor:
    """The mean squared distance of scores (n,) from 1 where ``abnormal``, bool (n,), and from 0 elsewhere; both means
    have the same weight.

    The paper's distance is not squared. Then nearly all scores end at 0 or 1, and descendants lose the small
    differences that rank them; squared, a score tends to the share of abnormal frames among similar ones.
    """
    high, low = (scores - 1).square()[abnormal], scores.square()[~abnormal]
    return high.sum() / max(1, len(high)) + low.sum() / max(1, len(low))


def _altered(frames: Tensor) -> Tensor:
    """Frames shifted, with other colours and, with probability 1/2, mirrored; the pixels at the edges are repeated."""
    count, colours, height, width = frames.shape
    down, right = torch.randint(2 * SHAKE + 1, (2,)).tolist()
    padded = F.pad(frames, (SHAKE, SHAKE, SHAKE, SHAKE), mode="replicate")
    moved = padded[:, :, down : down + height, right : right + width]
    stronger, lighter = (FLICKER * (2 * torch.rand(2, count, colours, 1, 1) - 1)).to(frames.device)
    lit: Tensor = moved * (1 + stronger) + lighter
    return lit.flip(3) if torch.rand(1).item() < 0.5 else lit
