"""Training of pose networks: coordinates, or heat maps."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from legodnn.builder.data.checked import CheckedLoader
from legodnn.builder.teach.fit import fit
from legodnn.builder.teach.settings import Settings

SPREAD = 1.0
"""Standard deviation of the peaks in the target heat maps, in their pixels. Not tuned."""

SCALE = 100.0
"""The factor on the error of heat maps, which are mostly zeros. Not tuned."""


def train(model: nn.Module, loader: CheckedLoader, settings: Settings) -> None:
    """Batches (images, keypoints (n, k, 3), sizes). The loss of coordinates, as fractions of the image, is the smooth
    L1 loss (beta 0.02, not tuned), that of heat maps the squared error. Keypoints that are not visible do not count.
    Trains ``model`` in place."""

    def loss(network: nn.Module, batch: Any) -> Tensor:
        images, keypoints = (item.to(settings.device) for item in batch[:2])
        answer: Tensor = network(images.contiguous(memory_format=torch.channels_last))
        visible: Tensor = (keypoints[..., 2] > 0).float()
        height, width = images.shape[2:]
        if answer.dim() == 4:
            wanted = peaks(keypoints, answer.shape[2], answer.shape[3], height, width)
            error = (answer - wanted).square().mean((2, 3)) * SCALE
        else:
            sides = torch.tensor([width, height], device=images.device)
            error = F.smooth_l1_loss(answer, keypoints[..., :2] / sides, reduction="none", beta=0.02).sum(2)
        return (error * visible).sum() / visible.sum().clamp(min=1)

    fit(model, loader, loss, settings)


def peaks(keypoints: Tensor, rows: int, columns: int, height: int, width: int) -> Tensor:
    """Heat maps (n, k, rows, columns), a peak of 1 at each keypoint (n, k, 3) of images of this height and width."""
    x = (keypoints[..., 0] + 0.5) * columns / width - 0.5
    y = (keypoints[..., 1] + 0.5) * rows / height - 0.5
    across = torch.arange(columns, device=keypoints.device) - x.unsqueeze(2)
    down = torch.arange(rows, device=keypoints.device) - y.unsqueeze(2)
    return torch.exp(-(down.square().unsqueeze(3) + across.square().unsqueeze(2)) / (2 * SPREAD**2))
