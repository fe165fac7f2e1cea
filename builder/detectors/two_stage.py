"""The parts of two-stage detectors that depend on the data.

Faster R-CNN (Ren et al., NIPS 2015) proposes boxes and classifies them; Mask R-CNN (He et al., ICCV 2017) adds a mask
or keypoints to the detections. All counts are fixed: fewer proposals or detections are followed by zeros. A box of
zeros has no area, and no offsets give it one, so a proposal that is padding never becomes a detection.
"""

# Annotations are not postponed here: torch.jit reads those of the classes, and does not understand strings.

import torch
import torch.nn.functional as F
from torch import Tensor

from legodnn.builder.detectors.boxes import by_anchor, clipped, decoded, detections, kept, padded, reaching, stacked
from legodnn.builder.graph.tracing.opaque import Opaque


class Proposals(Opaque):
    """Which anchors may hold an object: the best of each level, without those that a better one of it overlaps.

    ``anchors`` (a, 4) and ``border`` (4,) are in pixels. ``candidates`` of each level are considered, ``count`` of an
    image are kept.
    """

    anchors: Tensor
    border: Tensor
    weights: Tensor

    def __init__(
        self,
        anchors: Tensor,
        border: Tensor,
        weights: Tensor,
        *,
        longest: float,
        candidates: int,
        count: int,
        overlap: float,
        least_score: float,
        least_side: float,
    ) -> None:
        super().__init__()
        self.register_buffer("anchors", anchors)
        self.register_buffer("border", border)
        self.register_buffer("weights", weights)
        self.longest, self.candidates, self.count, self.overlap = longest, candidates, count, overlap
        self.least_score, self.least_side = least_score, least_side

    def forward(self, logits: list[Tensor], offsets: list[Tensor]) -> Tensor:
        """Levels (n, a, h, w) and (n, a * 4, h, w) to proposals (n, count, 4), the best first, zeros after the last."""
        found: list[Tensor] = []
        strengths: list[Tensor] = []
        levels: list[Tensor] = []
        start = 0
        for level, (logit, offset) in enumerate(zip(logits, offsets)):  # noqa: B905 - TorchScript has no strict zip
            strength = by_anchor(logit, 1).squeeze(2)
            anchors = self.anchors[start : start + strength.shape[1]]
            start += strength.shape[1]
            strength, best = strength.topk(min(self.candidates, strength.shape[1]), dim=1)
            chosen = by_anchor(offset, 4).gather(1, best.unsqueeze(2).expand(-1, -1, 4))
            found.append(decoded(chosen, anchors[best], self.weights, self.longest))
            strengths.append(strength)
            levels.append(torch.full_like(best, level))
        boxes, scores = clipped(torch.cat(found, 1), self.border), torch.cat(strengths, 1).sigmoid()
        group = torch.cat(levels, 1)
        proposals: list[Tensor] = []
        for i in range(len(boxes)):
            usable = reaching(boxes[i], self.least_side) & (scores[i] >= self.least_score)
            box = boxes[i][usable]
            stay = kept(box, scores[i][usable], group[i][usable], self.overlap, self.count)
            proposals.append(padded(box[stay], self.count))
        return torch.stack(proposals)


class Detections(Opaque):
    """The final boxes of an image: every proposal as every class, then the best of those that do not overlap."""

    border: Tensor
    weights: Tensor

    def __init__(
        self,
        border: Tensor,
        weights: Tensor,
        *,
        longest: float,
        least_score: float,
        least_side: float,
        overlap: float,
        count: int,
    ) -> None:
        super().__init__()
        self.register_buffer("border", border)
        self.register_buffer("weights", weights)
        self.longest, self.least_score, self.least_side = longest, least_score, least_side
        self.overlap, self.count = overlap, count

    def forward(self, logits: Tensor, offsets: Tensor, proposals: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (n * p, classes), offsets (n * p, classes * 4) and proposals (n, p, 4) to ``count`` detections.

        Boxes (n, count, 4), scores (n, count) and labels (n, count), int64; class 0 is the background.
        """
        n, p, _ = proposals.shape
        scores = F.softmax(logits, -1).reshape(n, p, -1)[:, :, 1:]
        offsets = offsets.reshape(n, p, -1, 4)[:, :, 1:]
        found: list[tuple[Tensor, Tensor, Tensor]] = []
        for i in range(n):
            candidate, kind = torch.nonzero(scores[i] > self.least_score).unbind(1)
            box = decoded(offsets[i][candidate, kind], proposals[i][candidate], self.weights, self.longest)
            box = clipped(box, self.border)
            usable = reaching(box, self.least_side)
            strength = scores[i][candidate, kind][usable]
            found.append(detections(box[usable], strength, kind[usable] + 1, self.overlap, self.count))
        return stacked(found)


class MaskOfLabel(Opaque):
    """The mask of each detection's own class."""

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Logits (n * d, classes, h, w) and labels (n, d) to probabilities (n, d, 1, h, w), zeros for padding."""
        n, d = labels.shape
        _, _, h, w = logits.shape
        index = labels.reshape(-1, 1, 1, 1).expand(-1, 1, h, w)
        masks = logits.gather(1, index).sigmoid().masked_fill(index == 0, 0.0)
        return masks.reshape(n, d, 1, h, w)


class KeypointsOfHeatmaps(Opaque):
    """The position of each keypoint: the maximum of its heatmap, resized to the box's whole pixels."""

    def forward(self, heatmaps: Tensor, boxes: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Heatmaps (n * d, k, h, w), boxes (n, d, 4) and labels (n, d) to keypoints (n, d, k, 3) and scores (n, d, k).

        A keypoint is x and y in pixels and its visibility, always 1; its score is the heatmap's maximum. Padding
        (label 0) has zeros.
        """
        n, d = labels.shape
        k = heatmaps.shape[1]
        corners = boxes[..., :2].reshape(-1, 2)
        sides = (boxes[..., 2:].reshape(-1, 2) - corners).clamp(min=1.0)
        pixels = sides.ceil()
        places = torch.zeros([n * d, k, 3], device=heatmaps.device)
        scores = torch.zeros([n * d, k], device=heatmaps.device)
        for i in range(n * d):
            if int(labels.reshape(-1)[i]) > 0:
                width, height = int(pixels[i, 0]), int(pixels[i, 1])
                # A scripted F.interpolate contains modes that older versions of torch do not have.
                resized = torch.ops.aten.upsample_bicubic2d(heatmaps[i].unsqueeze(1), [height, width], False)
                score, best = resized.flatten(1).max(1)
                steps = torch.stack([best % width, torch.div(best, width, rounding_mode="floor")], 1)
                places[i, :, :2] = (steps + 0.5) * (sides[i] / pixels[i]) + corners[i]
                places[i, :, 2] = 1.0
                scores[i] = score
        return places.reshape(n, d, k, 3), scores.reshape(n, d, k)
