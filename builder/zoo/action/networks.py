"""Action recognition from a few frames of a video, on ResNet-18.

Wang, Xiong, Wang, Qiao, Lin, Tang, Van Gool, *Temporal segment networks: towards good practices for deep action
recognition*, ECCV 2016; Zhou, Andonian, Oliva, Torralba, *Temporal relational reasoning in videos*, ECCV 2018.
"""

from __future__ import annotations

from itertools import combinations

import torch
import torch.nn as nn
from torch import Tensor

from legodnn.builder.zoo.common.resnet import ResNet18Backbone


class FrameFeatures(nn.Module):
    """The backbone and a linear layer on every frame."""

    def __init__(self, width: int, segments: int, features: int, dropout: float) -> None:
        super().__init__()
        self.segments = segments
        self.features = features
        self.trunk = ResNet18Backbone(width)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(self.trunk.channels, features)

    def forward(self, x: Tensor) -> Tensor:
        """(n, segments, 3, h, w) to (n, segments, features)."""
        pooled = self.trunk(x.flatten(0, 1)).mean((2, 3))
        features: Tensor = self.linear(self.dropout(pooled)).reshape(-1, self.segments, self.features)
        return features


class TSN(nn.Module):
    """Class scores of every frame, averaged."""

    def __init__(self, width: int, segments: int, classes: int) -> None:
        super().__init__()
        self.frames = FrameFeatures(width, segments, classes, dropout=0.8)

    def forward(self, x: Tensor) -> Tensor:
        """(n, segments, 3, h, w) to (n, classes)."""
        scores: Tensor = self.frames(x).mean(1)
        return scores


class Relations(nn.Module):
    """Class scores from ordered tuples of frames: one perceptron for each length, all outputs added.

    Of each length at most ``tuples`` are used, spread evenly over all and the same for every video; the paper draws
    them at random in every run, so that two runs differ.
    """

    def __init__(self, segments: int, features: int, classes: int, hidden: int = 256, tuples: int = 3) -> None:
        super().__init__()
        self.segments = segments
        self.chosen: list[list[tuple[int, ...]]] = []
        self.perceptrons = nn.ModuleList()
        for length in range(2, segments + 1):
            every = list(combinations(range(segments), length))
            count = min(tuples, len(every))
            self.chosen.append([every[i * len(every) // count] for i in range(count)])
            self.perceptrons.append(
                nn.Sequential(nn.Linear(length * features, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, classes))
            )

    def forward(self, x: Tensor) -> Tensor:
        """(n, segments, features) to (n, classes)."""
        frames = x.relu().chunk(self.segments, 1)
        scores = [
            perceptron(torch.cat([frames[i] for i in chosen], 2))
            for perceptron, tuples in zip(self.perceptrons, self.chosen, strict=True)
            for chosen in tuples
        ]
        return torch.cat(scores, 1).sum(1)


class TRN(nn.Module):
    """Features of every frame, and the relations between them at all scales."""

    def __init__(self, width: int, segments: int, classes: int, features: int) -> None:
        super().__init__()
        self.frames = FrameFeatures(width, segments, features, dropout=0.8)
        self.relations = Relations(segments, features, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(n, segments, 3, h, w) to (n, classes)."""
        scores: Tensor = self.relations(self.frames(x))
        return scores


def tsn_resnet18(width: int = 64, segments: int = 8, classes: int = 101) -> TSN:
    """TSN-R18 (Wang et al., ECCV 2016), untrained: frames (n, segments, 3, h, w) to (n, classes).

    ``width`` is the stem's channels, 64 in the original.
    """
    return TSN(width, segments, classes)


def trn_resnet18(width: int = 64, segments: int = 8, classes: int = 101, features: int = 256) -> TRN:
    """Multi-scale TRN-R18 (Zhou et al., ECCV 2018), untrained: frames (n, segments, 3, h, w) to (n, classes).

    ``segments`` is 2 or more; ``width`` is the stem's channels, 64 in the original, ``features`` the length of a
    frame's description.
    """
    return TRN(width, segments, classes, features)
