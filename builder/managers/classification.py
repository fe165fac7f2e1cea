"""Image classification: batches are (images, labels), accuracy is the share of right top answers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn as nn

from legodnn.builder.managers.abstract import AbstractModelManager, Device
from legodnn.shared.errors import DataError


class CommonModelManager(AbstractModelManager):
    """For networks that take images (n, channels, height, width) and return scores (n, classes)."""

    task = "image classification"
    metric = "top-1 accuracy"

    def forward_to_gen_mid_data(self, model: nn.Module, batch_data: Any, device: Device) -> Any:
        """Run ``model`` on the images of a batch ``(images, labels)``."""
        return model(batch_data[0].to(device))

    def get_model_acc(self, model: nn.Module, test_loader: Iterable[Any], device: Device) -> float:
        """The share of images whose highest score is their label's. Raises `DataError` for an empty loader."""
        right = total = 0
        with torch.no_grad():
            for images, labels in test_loader:
                answers = model(images.to(device)).argmax(1)
                right += int((answers == labels.to(device)).sum())
                total += len(labels)
        if total == 0:
            raise DataError("the test loader yields no batches")
        return right / total
