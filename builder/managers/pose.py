"""Pose estimation: from coordinates or heat maps to keypoints."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn as nn
from torch import Tensor

from legodnn.builder.graph.tracing.copies import copied
from legodnn.builder.graph.tracing.opaque import Opaque
from legodnn.builder.managers.task import TaskManager
from legodnn.shared.errors import ModelError
from legodnn.shared.tasks.pose import Pose


class Peaks(Opaque):
    """The position of the maximum of each heat map, moved a quarter of a step towards its higher neighbours.

    Xiao, Wu, Wei, *Simple baselines for human pose estimation and tracking*, ECCV 2018. ``height`` and ``width`` are
    the image's.
    """

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height, self.width = float(height), float(width)

    def forward(self, maps: Tensor) -> Tensor:
        """(n, k, h, w) to keypoints (n, k, 3): x, y in pixels of the image, and the height of the peak."""
        h, w = maps.shape[2], maps.shape[3]
        score, place = maps.flatten(2).max(2)
        y, x = torch.div(place, w, rounding_mode="floor"), place % w
        padded = torch.nn.functional.pad(maps, [1, 1, 1, 1]).flatten(2)
        here = (y + 1) * (w + 2) + x + 1
        right = padded.gather(2, (here + 1).unsqueeze(2)) - padded.gather(2, (here - 1).unsqueeze(2))
        below = padded.gather(2, (here + w + 2).unsqueeze(2)) - padded.gather(2, (here - w - 2).unsqueeze(2))
        across = (x + 0.5 + 0.25 * torch.sign(right.squeeze(2))) * (self.width / w) - 0.5
        down = (y + 0.5 + 0.25 * torch.sign(below.squeeze(2))) * (self.height / h) - 0.5
        return torch.stack([across, down, score], 2)


class Fractions(nn.Module):
    """Coordinates as fractions of the image's sides to pixels; every keypoint has the score 1."""

    sides: Tensor

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.register_buffer("sides", torch.tensor([float(width), float(height)]))

    def forward(self, fractions: Tensor) -> Tensor:
        """(n, k, 2) to keypoints (n, k, 3)."""
        return torch.cat([fractions * self.sides, torch.ones_like(fractions[..., :1])], 2)


class PoseManager(TaskManager):
    """Networks that give heat maps (n, k, h, w), or coordinates (n, k, 2) as fractions of the image's sides.

    Batches are (images, keypoints (n, k, 3), sizes (n,)) as `legodnn.shared.tasks.pose` says.
    """

    def __init__(self) -> None:
        super().__init__(Pose())

    def network_to_cut(self, teacher_model: nn.Module, model_input_size: Sequence[int]) -> nn.Module:
        """A copy of the network followed by `Peaks` or `Fractions`. Raises `ModelError` for an output of another
        shape."""
        network = copied(teacher_model).eval()
        device = next((p.device for p in network.parameters()), torch.device("cpu"))
        with torch.random.fork_rng([device] if device.type == "cuda" else []):  # draws none of the caller's numbers
            answer = self.dummy_forward_to_gen_mid_data(network, model_input_size, device)
        height, width = model_input_size[-2:]
        if isinstance(answer, Tensor) and answer.dim() == 4:
            return nn.Sequential(network, Peaks(height, width)).eval()
        if isinstance(answer, Tensor) and answer.dim() == 3 and answer.shape[2] == 2:
            return nn.Sequential(network, Fractions(height, width)).eval()
        shape = tuple(answer.shape) if isinstance(answer, Tensor) else type(answer).__name__
        raise ModelError(f"heat maps (n, k, h, w) or coordinates (n, k, 2) expected of a pose network, not {shape}")
