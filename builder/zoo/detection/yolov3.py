"""YOLOv3, a detector on DarkNet-53.

Redmon, Farhadi, *YOLOv3: an incremental improvement*, arXiv:1804.02767, 2018.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import torch
import torch.nn as nn
from torch import Tensor

from legodnn.builder.zoo.common.layers import conv_norm
from legodnn.builder.zoo.detection.yolov3_boxes import Anchors, BestOfCells, Grid, grid_of
from legodnn.builder.zoo.detection.yolov3_loss import yolo_loss
from legodnn.shared.tasks.detection import Boxes

ANCHORS = tuple(
    (width / 416, height / 416)
    for width, height in (
        (10, 13), (16, 30), (33, 23), (30, 61), (62, 45), (59, 119), (116, 90), (156, 198), (373, 326)
    )
)  # fmt: skip
"""The published sides of the boxes that predictions start from, as shares of the image's, small to large."""

OBJECTS = 0.01
"""The objectness of an untrained network's predictions, as Lin et al. (ICCV 2017) start from. Not tuned."""


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return conv_norm(inputs, outputs, kernel, stride, activation=nn.LeakyReLU(0.1, inplace=True))


class DarkResidual(nn.Module):
    """A 1x1 convolution to half the channels and a 3x3 back, added to the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(_conv(channels, channels // 2, 1), _conv(channels // 2, channels, 3))

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, h, w) to the same shape."""
        y: Tensor = self.body(x)
        return x + y


class DarkNet53(nn.Module):
    """The backbone: 52 convolutions (the 53rd layer is the classifier it was first trained with).

    ``channels`` is that of the stem, 32 in the original.
    """

    def __init__(self, channels: int = 32) -> None:
        super().__init__()
        stages = []
        for stage, blocks in enumerate((1, 2, 8, 8, 4)):
            outputs = 2 * channels << stage
            down = _conv(outputs // 2, outputs, 3, 2)
            stages.append(nn.Sequential(down, *[DarkResidual(outputs) for _ in range(blocks)]))
        self.fine = nn.Sequential(_conv(3, channels, 3), *stages[:3])
        self.middle, self.coarse = stages[3:]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(n, 3, s, s) to features of 32, 16 and 8 times the stem's channels and sizes s / 32, s / 16 and s / 8."""
        fine = self.fine(x)
        middle = self.middle(fine)
        return self.coarse(middle), middle, fine


class _Neck(nn.Module):
    """Five convolutions before a map's predictions and the branch to the next finer map."""

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        layers = []
        for _ in range(2):
            layers += [_conv(inputs, channels, 1), _conv(channels, 2 * channels, 3)]
            inputs = 2 * channels
        self.layers = nn.Sequential(*layers, _conv(inputs, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return y


def _head(channels: int, anchors: int, classes: int) -> nn.Sequential:
    last = nn.Conv2d(2 * channels, anchors * (5 + classes), 1)
    # Objects are rare: a bias that says so saves the first steps (Lin et al., ICCV 2017).
    assert last.bias is not None
    nn.init.constant_(last.bias.detach()[4 :: 5 + classes], math.log(OBJECTS / (1 - OBJECTS)))
    return nn.Sequential(_conv(channels, 2 * channels, 3), last)


def _up(channels: int) -> nn.Sequential:
    return nn.Sequential(_conv(channels, channels // 2, 1), nn.Upsample(scale_factor=2))


class YOLOv3(nn.Module):
    """Predictions at three sizes, each from features of that size and of all coarser ones.

    ``anchors`` are the boxes predictions start from, for each map (coarse to fine) some pairs of width and height as
    shares of the image's; at most ``detections`` are made of an image's predictions.
    """

    def __init__(self, stem: int, classes: int, anchors: Anchors, detections: int) -> None:
        super().__init__()
        self.classes, self.anchors, self.detections = classes, anchors, detections
        predicted = len(anchors[0]), classes
        self.trunk = DarkNet53(stem)
        self.coarse, self.coarse_head = _Neck(32 * stem, 16 * stem), _head(16 * stem, *predicted)
        self.coarse_up = _up(16 * stem)
        self.middle, self.middle_head = _Neck(24 * stem, 8 * stem), _head(8 * stem, *predicted)
        self.middle_up = _up(8 * stem)
        self.fine, self.fine_head = _Neck(12 * stem, 4 * stem), _head(4 * stem, *predicted)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(n, 3, s, s) to raw predictions (n, anchors * (5 + classes), t, t) for t = s / 32, s / 16 and s / 8."""
        coarse, middle, fine = self.trunk(x)
        coarse = self.coarse(coarse)
        middle = self.middle(torch.cat([self.coarse_up(coarse), middle], 1))
        fine = self.fine(torch.cat([self.middle_up(middle), fine], 1))
        return self.coarse_head(coarse), self.middle_head(middle), self.fine_head(fine)

    def detecting(self, height: int, width: int) -> nn.Module:
        """The network that finds objects in images of this size; see `DetectingYOLOv3`."""
        return DetectingYOLOv3(self, height, width).eval()

    def detection_loss(self, images: Tensor, objects: Sequence[Boxes]) -> Tensor:
        """The loss of a batch of images (n, 3, s, s) with the objects of each, see `yolo_loss`."""
        size = images.shape[2], images.shape[3]
        grid = Grid(*[part.to(images.device) for part in grid_of(self.anchors, *size)])
        return yolo_loss(self(images), objects, grid, self.classes)


class DetectingYOLOv3(nn.Module):
    """A YOLOv3 that returns ``boxes``, ``scores`` and ``labels`` as `plain_detector`'s networks do.

    It takes images (n, 3, height, width), float32, normalised; height and width are multiples of 32. It shares the
    layers of a network in eval mode, and has a copy of those of one in training.
    """

    def __init__(self, network: YOLOv3, height: int, width: int) -> None:
        super().__init__()
        if any(module.training for module in network.modules()):
            network = copy.deepcopy(network).eval()
        self.network = network
        self.best = BestOfCells(network.anchors, network.classes, network.detections, height, width)
        self.best.to(next(network.parameters()).device)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Images (n, 3, height, width) to detections by name."""
        boxes, scores, labels = self.best(list(self.network(images)))
        return {"boxes": boxes, "scores": scores, "labels": labels}


def yolov3(
    width: float = 1.0,
    classes: int = 80,
    anchors: Sequence[Sequence[float]] = ANCHORS,
    detections: int = 100,
) -> YOLOv3:
    """YOLOv3 (Redmon, Farhadi, 2018), untrained; images (n, 3, s, s) with s a multiple of 32.

    Gives three maps of raw predictions, coarse to fine: (n, a * (5 + classes), t, t) for t = s / 32, s / 16 and s / 8;
    each of a map's a anchors has four numbers for its box, one for whether there is an object, one for every class.
    ``width`` multiplies the channels. ``anchors`` are widths and heights as shares of the image's, small to large: the
    first third is the fine map's. At most ``detections`` are found once the maps are made into boxes. Raises
    `ValueError` where the anchors cannot be shared out.
    """
    if not anchors or len(anchors) % 3:
        raise ValueError(f"{len(anchors)} anchors; a multiple of three is expected, one third for each map")
    pairs = [(float(across), float(down)) for across, down in anchors]
    third = len(pairs) // 3
    maps = [pairs[2 * third :], pairs[third : 2 * third], pairs[:third]]
    return YOLOv3(max(1, round(32 * width)), classes, maps, detections)
