"""torchvision's detectors as networks of a fixed input size, made of their own layers and plain torch operators.

Layers with weights are called as ordinary modules, to be cut and pruned; what depends on the image's content is in
`Opaque` modules, which are kept whole.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor
from torchvision.models.detection import FCOS, FasterRCNN, RetinaNet
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.ssd import SSD

from legodnn.builder.detectors.one_stage import BestByClass, BestByLevel, BestCentred
from legodnn.builder.detectors.regions import RegionAlign, region_align
from legodnn.builder.detectors.two_stage import Detections, KeypointsOfHeatmaps, MaskOfLabel, Proposals
from legodnn.shared.errors import ModelError

_LEAST_SIDE = 0.01
"""The least width and height of a final box in pixels, as in torchvision's two-stage detectors."""


def _kinds() -> list[tuple[type, type]]:
    """torchvision's detectors, each with the class of its plain network."""
    return [(FasterRCNN, _TwoStage), (RetinaNet, _RetinaNet), (FCOS, _Fcos), (SSD, _Ssd)]


def is_detector(model: nn.Module) -> bool:
    """Whether a network is one that `plain_detector` takes."""
    return any(isinstance(model, kind) for kind, _ in _kinds())


def plain_detector(detector: nn.Module, height: int, width: int) -> nn.Module:
    """A torchvision ``detector`` as a network for images of one size, which runs without torchvision.

    It takes images (n, 3, height, width), float32, normalised (the detector's own ``transform`` is not part of it),
    and returns by name, for D = ``detections_per_img``, the highest score first and zeros after the last detection:

    - ``boxes`` (n, D, 4), float32: left, top, right, bottom in pixels of the input;
    - ``scores`` (n, D), float32, and ``labels`` (n, D), int64;
    - of a Mask R-CNN, ``masks`` (n, D, 1, 28, 28): probabilities inside the box;
    - of a Keypoint R-CNN, ``keypoints`` (n, D, K, 3): x, y, visibility, and ``keypoint_scores`` (n, D, K).

    The result shares the layers of a detector in eval mode, and has a copy of those of one in training. Raises
    `ModelError` for anything but a Faster, Mask or Keypoint R-CNN, RetinaNet, FCOS or SSD of torchvision's own parts.
    """
    if any(module.training for module in detector.modules()):
        detector = copy.deepcopy(detector).eval()
    for kind, plain in _kinds():
        if isinstance(detector, kind):
            made: nn.Module = plain(detector, height, width).eval()
            return made
    names = ", ".join(kind.__name__ for kind, _ in _kinds())
    raise ModelError(f"{type(detector).__name__} is none of torchvision's detectors ({names})")


class _Start(NamedTuple):
    """The constants of a detector for one image size: anchors (a, 4), the image's border (4,) in pixels, the maps'
    (height, width)."""

    anchors: Tensor
    border: Tensor
    sizes: dict[str, tuple[int, int]]


class _Detector(nn.Module):
    """A detector with a backbone that makes maps of several sizes."""

    def __init__(self, detector: Any) -> None:
        super().__init__()
        self.backbone: nn.Module = detector.backbone

    def maps(self, images: Tensor) -> Mapping[str, Tensor]:
        """The backbone's maps (n, channels, h, w) by name, the finest first."""
        found = self.backbone(images)
        return {"0": found} if isinstance(found, Tensor) else found

    def start(self, anchors: nn.Module, height: int, width: int) -> _Start:
        """The constants for images of this size, with the boxes of a generator of ``anchors``."""
        image = next(self.parameters()).new_zeros(1, 3, height, width)
        with torch.no_grad():
            maps = self.maps(image)
            boxes = anchors(ImageList(image, [(height, width)]), list(maps.values()))[0]
        sizes = {name: (level.shape[2], level.shape[3]) for name, level in maps.items()}
        return _Start(boxes, boxes.new_tensor([width, height, width, height]), sizes)


def _coder(coder: Any, start: _Start) -> dict[str, Any]:
    """The parameters of one of torchvision's box coders, as arguments of the modules here."""
    return {"weights": start.anchors.new_tensor(coder.weights), "longest": float(coder.bbox_xform_clip)}


def _choice(detector: Any) -> dict[str, Any]:
    """The parameters of a one-stage detector's selection, as arguments of the modules here."""
    return {
        "least_score": float(detector.score_thresh),
        "candidates": int(detector.topk_candidates),
        "overlap": float(detector.nms_thresh),
        "count": int(detector.detections_per_img),
    }


def _named(found: tuple[Tensor, Tensor, Tensor]) -> dict[str, Tensor]:
    boxes, scores, labels = found
    return {"boxes": boxes, "scores": scores, "labels": labels}


def _align(pool: Any, start: _Start) -> tuple[list[str], RegionAlign]:
    """The names of the maps that one of torchvision's poolers reads, and its `RegionAlign`. Raises `ModelError` for a
    sampling ratio that depends on the region."""
    if pool.sampling_ratio <= 0:
        raise ModelError("a RoIAlign whose sampling_ratio depends on the regions; set it to 2, torchvision's default")
    names = [name for name in start.sizes if name in pool.featmap_names]
    align = region_align(pool, [start.sizes[name] for name in names], int(start.border[1]))
    return names, align.to(start.anchors.device)


class _TwoStage(_Detector):
    """Faster R-CNN, with masks or keypoints where the detector has them."""

    def __init__(self, detector: FasterRCNN, height: int, width: int) -> None:
        rpn, heads = detector.rpn, detector.roi_heads
        super().__init__(detector)
        start = self.start(rpn.anchor_generator, height, width)
        per_level = [
            a * h * w
            for a, (h, w) in zip(rpn.anchor_generator.num_anchors_per_location(), start.sizes.values(), strict=True)
        ]
        candidates = rpn.pre_nms_top_n()
        self.rpn_head = rpn.head
        self.proposals = Proposals(
            start.anchors,
            start.border,
            candidates=candidates,
            count=min(rpn.post_nms_top_n(), sum(min(candidates, anchors) for anchors in per_level)),
            overlap=float(rpn.nms_thresh),
            least_score=float(rpn.score_thresh),
            least_side=float(rpn.min_size),
            **_coder(rpn.box_coder, start),
        )
        self.box_levels, self.box_align = _align(heads.box_roi_pool, start)
        self.box_head, self.box_predictor = heads.box_head, heads.box_predictor
        self.detections = Detections(
            start.border,
            least_score=float(heads.score_thresh),
            least_side=_LEAST_SIDE,
            overlap=float(heads.nms_thresh),
            count=int(heads.detections_per_img),
            **_coder(heads.box_coder, start),
        )
        self.has_masks, self.has_keypoints = heads.has_mask(), heads.has_keypoint()
        if self.has_masks:
            self.mask_levels, self.mask_align = _align(heads.mask_roi_pool, start)
            self.mask_head, self.mask_predictor = heads.mask_head, heads.mask_predictor
            self.mask_of_label = MaskOfLabel()
        if self.has_keypoints:
            self.keypoint_levels, self.keypoint_align = _align(heads.keypoint_roi_pool, start)
            self.keypoint_head, self.keypoint_predictor = heads.keypoint_head, heads.keypoint_predictor
            self.keypoints_of_heatmaps = KeypointsOfHeatmaps()

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Images (n, 3, height, width) to detections, as `plain_detector` says."""
        maps = self.maps(images)
        proposals = self.proposals(*self.rpn_head(list(maps.values())))
        regions = self.box_align([maps[name] for name in self.box_levels], proposals)
        logits, offsets = self.box_predictor(self.box_head(regions))
        found = _named(self.detections(logits, offsets, proposals))
        boxes, labels = found["boxes"], found["labels"]
        if self.has_masks:
            regions = self.mask_align([maps[name] for name in self.mask_levels], boxes)
            found["masks"] = self.mask_of_label(self.mask_predictor(self.mask_head(regions)), labels)
        if self.has_keypoints:
            regions = self.keypoint_align([maps[name] for name in self.keypoint_levels], boxes)
            heatmaps = self.keypoint_predictor(self.keypoint_head(regions))
            found["keypoints"], found["keypoint_scores"] = self.keypoints_of_heatmaps(heatmaps, boxes, labels)
        return found


class _RetinaNet(_Detector):
    """RetinaNet: the same two towers of convolutions at every level."""

    def __init__(self, detector: RetinaNet, height: int, width: int) -> None:
        super().__init__(detector)
        start = self.start(detector.anchor_generator, height, width)
        self.classification, self.regression = detector.head.classification_head, detector.head.regression_head
        self.best = BestByLevel(
            start.anchors,
            start.border,
            classes=self.classification.num_classes,
            **_coder(detector.box_coder, start),
            **_choice(detector),
        )

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Images (n, 3, height, width) to detections, as `plain_detector` says."""
        levels = list(self.maps(images).values())
        logits = [self.classification.cls_logits(self.classification.conv(level)) for level in levels]
        offsets = [self.regression.bbox_reg(self.regression.conv(level)) for level in levels]
        return _named(self.best(logits, offsets))


class _Fcos(_Detector):
    """FCOS: as RetinaNet, with points for anchors and a third output."""

    def __init__(self, detector: FCOS, height: int, width: int) -> None:
        super().__init__(detector)
        start = self.start(detector.anchor_generator, height, width)
        self.classification, self.regression = detector.head.classification_head, detector.head.regression_head
        sides = start.anchors[:, 2:] - start.anchors[:, :2]
        units = sides if detector.box_coder.normalize_by_size else torch.ones_like(sides)
        self.best = BestCentred(
            0.5 * (start.anchors[:, :2] + start.anchors[:, 2:]),
            units.repeat(1, 2),
            start.border,
            classes=self.classification.num_classes,
            **_choice(detector),
        )

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Images (n, 3, height, width) to detections, as `plain_detector` says."""
        levels = list(self.maps(images).values())
        logits = [self.classification.cls_logits(self.classification.conv(level)) for level in levels]
        towers = [self.regression.conv(level) for level in levels]
        distances = [F.relu(self.regression.bbox_reg(tower)) for tower in towers]
        return _named(self.best(logits, distances, [self.regression.bbox_ctrness(tower) for tower in towers]))


class _Ssd(_Detector):
    """SSD: each level has its own two convolutions, or small stacks of them in SSDlite."""

    def __init__(self, detector: SSD, height: int, width: int) -> None:
        super().__init__(detector)
        start = self.start(detector.anchor_generator, height, width)
        classification = detector.head.classification_head
        self.classification = classification.module_list
        self.regression = detector.head.regression_head.module_list
        self.best = BestByClass(
            start.anchors,
            start.border,
            classes=classification.num_columns,
            **_coder(detector.box_coder, start),
            **_choice(detector),
        )

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Images (n, 3, height, width) to detections, as `plain_detector` says."""
        levels = list(self.maps(images).values())
        logits = [head(level) for head, level in zip(self.classification, levels, strict=True)]
        offsets = [head(level) for head, level in zip(self.regression, levels, strict=True)]
        return _named(self.best(logits, offsets))
