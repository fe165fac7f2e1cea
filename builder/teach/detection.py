"""Training of detectors: by a loss of their own, or by that of torchvision's detectors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

import torch
import torch.nn as nn
from torch import Tensor
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import MultiScaleRoIAlign

from legodnn.builder.data.checked import CheckedLoader
from legodnn.builder.detectors import is_detector
from legodnn.builder.teach.fit import fit
from legodnn.builder.teach.region_pooling import Pooling
from legodnn.builder.teach.settings import Settings
from legodnn.shared.errors import DataError, ModelError
from legodnn.shared.tasks.detection import Boxes


@runtime_checkable
class LearnsBoxes(Protocol):
    """A network with a loss of its own."""

    classes: int
    """The number of classes, without the background."""

    def detection_loss(self, images: Tensor, objects: Sequence[Boxes]) -> Tensor:
        """The loss, one number, of images (n, 3, height, width) with the objects of each, labels from 1 on."""


def train(model: nn.Module, loader: CheckedLoader, settings: Settings) -> None:
    """Train a `LearnsBoxes`, or a detector of torchvision's, on batches (images, a list of `Boxes`), half of them
    mirrored, in place.

    Crowds and boxes without an area are left out. Raises `ModelError` for other networks, `DataError` for labels the
    network has no class for.
    """
    if isinstance(model, LearnsBoxes):
        _train_by_its_loss(model, loader, settings)
    elif is_detector(model):
        _train_torchvision(model, loader, settings)
    else:
        raise ModelError(
            f"teacher.train: {type(model).__name__} has no detection_loss and is none of torchvision's detectors; "
            f"train it with a function of your own"
        )


def _train_torchvision(model: Any, loader: CheckedLoader, settings: Settings) -> None:
    def loss(network: nn.Module, batch: Any) -> Tensor:
        images, objects = _mirrored_or_not(batch, classes, settings.device)
        targets = [{"boxes": found.boxes, "labels": found.labels} for found in objects]
        losses: dict[str, Tensor] = network(images, targets)
        return torch.stack(list(losses.values())).sum()

    classes = _classes(model)
    with _prepared(model, settings.device):
        fit(model, loader, loss, settings)


@contextmanager
def _prepared(model: Any, device: torch.device) -> Iterator[None]:
    """A torchvision detector without its own preparation and, on a CPU, with `Pooling` for RoIAlign, within the
    context."""
    transform, model.transform = model.transform, _AsTheyAre()
    pool = model.roi_heads.box_roi_pool if isinstance(model, FasterRCNN) else None
    faster = pool is not None and device.type == "cpu" and type(pool) is MultiScaleRoIAlign and pool.sampling_ratio > 0
    if faster:
        model.roi_heads.box_roi_pool = Pooling(pool)
    try:
        yield
    finally:
        model.transform = transform.eval()
        if faster:
            model.roi_heads.box_roi_pool = pool


def _classes(model: Any) -> int:
    """The number of classes of a torchvision detector, without the background."""
    if isinstance(model, FasterRCNN):
        predictor: Any = model.roi_heads.box_predictor
        return int(predictor.cls_score.out_features) - 1
    head = model.head.classification_head
    return int(getattr(head, "num_columns", None) or head.num_classes) - 1


class _AsTheyAre(nn.Module):
    """In place of a detector's own preparation: a batch of images is neither resized nor normalised."""

    def forward(self, images: Tensor, targets: Any = None) -> tuple[ImageList, Any]:
        """Images (n, 3, height, width), and the targets, as they are."""
        return ImageList(images, [(images.shape[2], images.shape[3])] * len(images)), targets

    def postprocess(self, result: Any, image_shapes: Any, original_image_sizes: Any) -> Any:
        """Detections as they are."""
        return result


def _train_by_its_loss(model: Any, loader: CheckedLoader, settings: Settings) -> None:
    def loss(network: Any, batch: Any) -> Tensor:
        images, objects = _mirrored_or_not(batch, model.classes, settings.device)
        value: Tensor = network.detection_loss(images, objects)
        return value

    fit(model, loader, loss, settings)


def _mirrored_or_not(batch: Any, classes: int, device: torch.device) -> tuple[Tensor, list[Boxes]]:
    """A batch on a device, mirrored with probability 1/2."""
    images, objects = batch[0], _worth_learning(batch[1], classes)
    if torch.rand(1).item() < 0.5:
        width = images.shape[3]
        images = images.flip(3)
        objects = [Boxes(_mirrored(found.boxes, width), found.labels, found.crowd) for found in objects]
    moved = [Boxes(f.boxes.to(device), f.labels.to(device), f.crowd.to(device)) for f in objects]
    return images.to(device).contiguous(memory_format=torch.channels_last), moved


def _mirrored(boxes: Tensor, width: int) -> Tensor:
    left, top, right, bottom = boxes.unbind(1)
    return torch.stack([width - right, top, width - left, bottom], 1)


def _worth_learning(objects: Sequence[Boxes], classes: int) -> list[Boxes]:
    rows = []
    for found in objects:
        wrong = found.labels[(found.labels < 1) | (found.labels > classes)]
        if len(wrong):
            raise DataError(f"a box with label {int(wrong[0])}, but the network has classes 1 to {classes}")
        keep = ~found.crowd & (found.boxes[:, 2:] > found.boxes[:, :2]).all(1)
        rows.append(Boxes(found.boxes[keep], found.labels[keep], found.crowd[keep]))
    return rows
