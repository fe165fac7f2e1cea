"""Pictures with something to find, and small networks that find it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

from legodnn.builder.zoo.detection import faster_rcnn, ssdlite, yolov3
from legodnn.shared.tasks.detection import Boxes

SIZE = 64
INPUT = (1, 3, SIZE, SIZE)

DETECTORS: dict[str, Callable[[], nn.Module]] = {
    "faster_rcnn": lambda: faster_rcnn.faster_rcnn_resnet18_fpn(4, 3, SIZE, 12, 6),
    "ssdlite": lambda: ssdlite.ssdlite_mobilenet_v3(0.25, 3, SIZE, 6),
    "yolov3": lambda: yolov3.yolov3(0.0625, 2, detections=6),
}
"""Networks that tell rectangles brighter than the ground, label 1, from darker ones, label 2."""


def detector(name: str) -> nn.Module:
    """One of `DETECTORS`, seeded, in eval mode."""
    torch.manual_seed(0)
    return DETECTORS[name]().eval()


def rectangles(count: int = 4, seed: int = 0) -> tuple[Tensor, list[Boxes]]:
    """A batch of noisy images with two rectangles each."""
    generator = torch.Generator().manual_seed(seed)
    images = 0.3 * torch.randn(count, 3, SIZE, SIZE, generator=generator)
    objects = []
    for image in images:
        sides = torch.randint(14, 28, (2, 2), generator=generator)
        corners = torch.randint(0, SIZE // 2 - 28, (2, 2), generator=generator)
        corners[1] += SIZE // 2
        labels = torch.randint(1, 3, (2,), generator=generator)
        for (left, top), (wide, high), label in zip(corners, sides, labels, strict=True):
            image[:, top : top + high, left : left + wide] += 2.0 if label == 1 else -2.0
        objects.append(Boxes.of(torch.cat([corners, corners + sides], 1).float(), labels))
    return images, objects


def loader(batches: int = 2, count: int = 4, seed: int = 0) -> list[Any]:
    """Some batches of `rectangles`."""
    return [rectangles(count, seed * 100 + i) for i in range(batches)]
