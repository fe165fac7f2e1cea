"""Self-training of networks that score frames, from footage that nobody has labelled.

Pang, Yan, Shen, van den Hengel, Bai, *Self-trained deep ordinal regression for end-to-end video anomaly detection*,
CVPR 2020: the strangest frames by the scores so far are called abnormal, the most usual ones normal, a network learns
to tell the ones from the others, its scores are the next ones. First scores are those of `FirstLook` here, which needs
no pretrained network.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from legodnn.builder.data.checked import CheckedLoader
from legodnn.builder.teachers.first_look import FirstLook
from legodnn.builder.teachers.training import WEIGHT_DECAY, Settings, finite, run_epochs

ABNORMAL, NORMAL = 0.1, 0.5
"""The shares of all frames, of the highest scores and of the lowest, that are learned from."""

SHAKE = 4
"""By how many pixels frames are moved, at most, as if the camera shook: so that no frame is learned by heart."""


class Judge:
    """Says which frames are taken for abnormal and which for normal: a scorer, and from which scores on."""

    def __init__(self, model: nn.Module, loader: CheckedLoader, device: torch.device) -> None:
        self.loader, self.device = loader, device
        self.first: nn.Module = FirstLook((loader.shape[-2], loader.shape[-1])).to(device)
        self.later = copy.deepcopy(model)
        self.round = -1
        self.low = self.high = math.nan

    @property
    def scorer(self) -> nn.Module:
        """What gives the scores of the present round."""
        return self.first if self.round < 1 else self.later

    def next_round(self, model: nn.Module) -> None:
        """Score all frames anew: by a first look, later by the network as it is now."""
        self.round += 1
        if self.round == 0:
            self.first.learn(self._frames)
        else:
            self.later.load_state_dict(model.state_dict())
        self.scorer.eval()
        with torch.no_grad():
            scores = torch.cat([self.scorer(frames).flatten() for frames in self._frames()]).double().cpu()
        self.low, self.high = finite(scores).quantile(torch.tensor([NORMAL, 1 - ABNORMAL]).double()).tolist()

    def verdict(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Which frames (n, 3, h, w) count as abnormal, and which as normal, both bool (n,); no frame counts as both."""
        with torch.no_grad():
            scores = self.scorer(frames).flatten()
        abnormal = scores > self.high
        return abnormal, (scores <= self.low) & ~abnormal

    def state_dict(self) -> dict[str, Any]:
        """Everything a resumed training needs of the present round."""
        return {
            "round": self.round,
            "bounds": [self.low, self.high],
            "first": self.first.state_dict(),
            "later": self.later.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on in the round that `state_dict` told of."""
        self.round = state["round"]
        self.low, self.high = state["bounds"]
        self.first.load_state_dict(state["first"])
        self.later.load_state_dict(state["later"])
        self.scorer.eval()

    def _frames(self) -> Iterator[Tensor]:
        return (batch[0].to(self.device) for batch in self.loader)


def train(model: nn.Module, loader: CheckedLoader, settings: Settings, *, each: int = 4) -> None:
    """Batches (frames (n, 3, h, w), ...) of a camera that does not move, most of them normal; labels are not looked at.

    ``model`` gives scores (n, 1), which are to be 1 for abnormal frames and 0 for normal ones. A round takes ``each``
    epochs. Raises `ModelError` where the training diverges.
    """
    judge = Judge(model, loader, settings.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, each * len(loader))

    def begin(epoch: int) -> None:
        if epoch % each == 0:
            judge.next_round(model.eval())
        model.train()

    def step(batch: Any) -> None:
        frames = batch[0].to(settings.device)
        abnormal, normal = judge.verdict(frames)
        taken = abnormal | normal
        if int(taken.sum()) > 1:  # a single frame has no statistics to be normalised with
            scores = model(_shaken(frames[taken]).contiguous(memory_format=torch.channels_last)).flatten()
            loss = finite(ordinal_error(scores, abnormal[taken]))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        schedule.step()

    parts = {"model": model, "optimizer": optimizer, "schedule": schedule, "judge": judge}
    run_epochs(loader, settings, parts, step, begin)
    model.eval()


def ordinal_error(scores: Tensor, abnormal: Tensor) -> Tensor:
    """The mean distance of scores (n,) from 1 where ``abnormal``, bool (n,), and from 0 elsewhere; both count the same,
    however few there are of one."""
    high, low = (scores - 1).abs()[abnormal], scores.abs()[~abnormal]
    return high.sum() / max(1, len(high)) + low.sum() / max(1, len(low))


def _shaken(frames: Tensor) -> Tensor:
    """Frames moved by some pixels, all in the same way; what comes in at the edges is what was there."""
    height, width = frames.shape[2:]
    down, right = torch.randint(2 * SHAKE + 1, (2,)).tolist()
    padded = F.pad(frames, (SHAKE, SHAKE, SHAKE, SHAKE), mode="replicate")
    return padded[:, :, down : down + height, right : right + width]
