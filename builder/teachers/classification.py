"""Classifiers of images and clips."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from legodnn.builder.data.checked import CheckedLoader
from legodnn.builder.teachers.training import Settings, fit


def train(model: nn.Module, loader: CheckedLoader, settings: Settings) -> None:
    """Cross entropy on batches (inputs, labels)."""

    def loss(network: nn.Module, batch: Any) -> Tensor:
        inputs, labels = batch
        return F.cross_entropy(network(inputs.to(settings.device)), labels.to(settings.device))

    fit(model, loader, loss, settings)


def train_mirrored(model: nn.Module, loader: CheckedLoader, settings: Settings) -> None:
    """The same with every other batch of images mirrored, for classes that have no left and right."""

    def loss(network: nn.Module, batch: Any) -> Tensor:
        images, labels = batch
        images = images.flip(3) if torch.rand(1).item() < 0.5 else images
        images = images.to(settings.device).contiguous(memory_format=torch.channels_last)
        return F.cross_entropy(network(images), labels.to(settings.device))

    fit(model, loader, loss, settings)
