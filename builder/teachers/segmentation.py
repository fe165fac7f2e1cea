"""Networks that name every pixel."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from legodnn.builder.data.checked import CheckedLoader
from legodnn.builder.graph.values import tensors_in
from legodnn.builder.teachers.training import Settings, fit
from legodnn.shared.tasks.segmentation import IGNORED

WEIGHT_DECAY = 0.02
"""Apart from the gradient: it lets high rates learn more in as many epochs."""


def train(model: nn.Module, loader: CheckedLoader, settings: Settings) -> None:
    """Cross entropy of every pixel on batches (images, masks), half of them mirrored.

    By AdamW (Loshchilov, Hutter, *Decoupled weight decay regularization*, ICLR 2019).
    """

    def loss(network: nn.Module, batch: Any) -> Tensor:
        images, masks = (item.to(settings.device) for item in batch)
        if torch.rand(1).item() < 0.5:
            images, masks = images.flip(3), masks.flip(2)
        images = images.contiguous(memory_format=torch.channels_last)
        return F.cross_entropy(tensors_in(network(images))[0], masks, ignore_index=IGNORED)

    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=WEIGHT_DECAY)
    fit(model, loader, loss, settings, optimizer)
