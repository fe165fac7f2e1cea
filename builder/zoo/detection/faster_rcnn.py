"""Faster R-CNN on a ResNet with a feature pyramid, for small images.

Ren, He, Girshick, Sun, *Faster R-CNN*, NIPS 2015; Lin et al., *Feature pyramid networks*, CVPR 2017. The parts are
torchvision's; anchors go from a sixteenth of the image to the whole of it, and few proposals are kept.
"""

from __future__ import annotations

from collections import OrderedDict

import torch.nn as nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.resnet import Bottleneck, ResNet
from torchvision.ops import MultiScaleRoIAlign

from legodnn.builder.zoo.common.layers import conv_norm_relu
from legodnn.builder.zoo.common.resnet import residual_stages

_STAGES = ("layer1", "layer2", "layer3", "layer4")
_CELLS = 7
"""Cells along a side of a region, as in torchvision."""

_STEP = 16
"""Widths of ResNet-50 are multiples of this: torchvision's stem has 64 channels, four times as many."""
_CANDIDATES = 4
"""Candidates on each level for each proposal that is kept. Not tuned."""


def faster_rcnn_resnet18_fpn(
    width: int = 64, classes: int = 91, size: int = 96, proposals: int = 64, detections: int = 20
) -> FasterRCNN:
    """Faster R-CNN on ResNet-18-FPN, untrained: torchvision's, for images of ``size`` pixels squared or about that.

    ``width`` is the stem's channels, 64 in the original, and scales the whole network; ``classes`` counts the
    background, class 0. ``proposals`` of an image are classified and at most ``detections`` returned.
    """
    stem = nn.Sequential(conv_norm_relu(3, width, 7, 2), nn.MaxPool2d(3, 2, 1))
    stages = zip(_STAGES, residual_stages(width), strict=True)
    body = nn.Sequential(OrderedDict([("stem", stem), *stages]))
    return _faster_rcnn(body, width, width, classes, size, proposals, detections)


def faster_rcnn_resnet50_fpn(
    width: int = 64, classes: int = 91, size: int = 96, proposals: int = 64, detections: int = 20
) -> FasterRCNN:
    """The same on torchvision's ResNet-50; ``width``, 64 in the original, scales all but its stem, in steps of 16.

    Raises `ValueError` for other widths.
    """
    if width < 1 or width % _STEP:
        raise ValueError(f"width {width}: a multiple of {_STEP} expected")
    # torchvision scales what is inside a bottleneck; what it adds to the stream is so many times 64 channels.
    bottleneck = type("Bottleneck", (Bottleneck,), {"expansion": width // _STEP})
    body = ResNet(bottleneck, [3, 4, 6, 3], width_per_group=width)
    return _faster_rcnn(body, 4 * width, width, classes, size, proposals, detections)


def _faster_rcnn(
    body: nn.Module, finest: int, width: int, classes: int, size: int, proposals: int, detections: int
) -> FasterRCNN:
    """On the four stages of ``body``, the first with ``finest`` channels and each other with twice those before."""
    channels, hidden = 4 * width, 16 * width
    levels = {name: str(i) for i, name in enumerate(_STAGES)}
    backbone = BackboneWithFPN(body, levels, [finest << i for i in range(len(_STAGES))], channels)
    sides = [max(1, size // 16) << level for level in range(len(_STAGES) + 1)]
    return FasterRCNN(
        backbone,
        rpn_anchor_generator=AnchorGenerator(tuple((side,) for side in sides), ((0.5, 1.0, 2.0),) * len(sides)),
        rpn_pre_nms_top_n_train=_CANDIDATES * 2 * proposals,
        rpn_pre_nms_top_n_test=_CANDIDATES * proposals,
        rpn_post_nms_top_n_train=2 * proposals,
        rpn_post_nms_top_n_test=proposals,
        rpn_batch_size_per_image=64,
        box_roi_pool=MultiScaleRoIAlign(list(levels.values()), _CELLS, 2),
        box_head=TwoMLPHead(channels * _CELLS**2, hidden),
        box_predictor=FastRCNNPredictor(hidden, classes),
        box_batch_size_per_image=proposals,
        box_detections_per_img=detections,
        min_size=size,
        max_size=size,
    )
