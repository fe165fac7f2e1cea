"""Classifiers of images and clips."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from legodnn.builder.data.checked import CheckedLoader
from legodnn.builder.teach.fit import fit
from legodnn.builder.teach.settings import Settings


def train(model: nn.Module, loader: CheckedLoader, settings: Settings, *, mirrored: bool = False) -> None:
    """Cross entropy on batches (inputs, labels); where ``mirrored``, batches of images are mirrored with probability
    1/2, for classes that do not differ in left and right. Trains ``model`` in place."""

    def loss(network: nn.Module, batch: Any) -> Tensor:
        inputs, labels = (item.to(settings.device) for item in batch)
        if mirrored and torch.rand(1).item() < 0.5:
            inputs = inputs.flip(-1)
        if inputs.dim() == 4:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        return F.cross_entropy(network(inputs), labels)

    fit(model, loader, loss, settings)
