"""SSDlite on MobileNetV3, for small images.

Howard et al., *Searching for MobileNetV3*, ICCV 2019. The parts are torchvision's. There the finest map shrinks the
image 16 times, for images of 320 pixels; here 8 times, with the backbone's last stage dilated instead of strided, so
that images of 96 pixels still have 12 x 12 positions, and boxes start at a tenth of the image.
"""

from __future__ import annotations

from functools import partial

import torch.nn as nn
from torchvision.models import mobilenet_v3_large
from torchvision.models.detection import _utils as detection_utils
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.ssd import SSD
from torchvision.models.detection.ssdlite import SSDLiteFeatureExtractorMobileNet, SSDLiteHead

_MAPS = 6
"""Feature maps, as in torchvision."""

_SMALLEST, _LARGEST = 0.12, 0.9
"""Sides of the boxes on the finest and the coarsest map, as shares of the image's; torchvision's are 0.2 and 0.95. Not
tuned."""


def ssdlite_mobilenet_v3(width: float = 1.0, classes: int = 91, size: int = 96, detections: int = 20) -> SSD:
    """SSDlite on MobileNetV3-Large, untrained, for images of ``size`` pixels squared or about that.

    ``width`` multiplies the channels; ``classes`` counts the background, class 0; at most ``detections`` are found.
    """
    norm = partial(nn.BatchNorm2d, eps=0.001, momentum=0.03)
    layers = mobilenet_v3_large(weights=None, width_mult=width, dilated=True, norm_layer=norm).features
    strided = [i for i, block in enumerate(layers) if getattr(block, "_is_cn", False)]
    backbone = SSDLiteFeatureExtractorMobileNet(layers, strided[-2], norm, width_mult=width)
    boxes = DefaultBoxGenerator([[2, 3]] * _MAPS, min_ratio=_SMALLEST, max_ratio=_LARGEST)
    channels = detection_utils.retrieve_out_channels(backbone, (size, size))
    return SSD(
        backbone,
        boxes,
        (size, size),
        classes,
        head=SSDLiteHead(channels, boxes.num_anchors_per_location(), classes, norm),
        score_thresh=0.01,
        nms_thresh=0.45,
        topk_candidates=100,
        detections_per_img=detections,
    )
