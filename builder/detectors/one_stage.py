"""The parts of one-stage detectors that depend on the data: which boxes are detections.

RetinaNet (Lin et al., *Focal loss for dense object detection*, ICCV 2017), FCOS (Tian et al., ICCV 2019) and SSD (Liu
et al., ECCV 2016). All return boxes (n, count, 4), scores (n, count) and labels (n, count), int64: the highest score
first, zeros after the last.
"""

# Annotations are not postponed here: torch.jit reads those of the classes, and does not understand strings.

import torch
import torch.nn.functional as F
from torch import Tensor

from legodnn.builder.detectors.boxes import by_anchor, clipped, decoded, detections, stacked
from legodnn.builder.graph.tracing.opaque import Opaque


def strongest(scores: Tensor, threshold: float, candidates: int) -> tuple[Tensor, Tensor]:
    """The ``candidates`` highest of the ``scores`` (k,) above ``threshold``, and their indices."""
    index = torch.nonzero(scores > threshold).squeeze(1)
    best, order = scores[index].topk(min(candidates, len(index)))
    return best, index[order]


def best_by_level(
    scores: list[Tensor], boxes: Tensor, threshold: float, candidates: int, overlap: float, count: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Detections from levels of scores (n, a, classes) and the boxes of all (n, sum of a, 4).

    The best of each level are taken first, then the best of all.
    """
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    for i in range(len(scores[0])):
        places: list[Tensor] = []
        values: list[Tensor] = []
        kinds: list[Tensor] = []
        start = 0
        for level in scores:
            anchors, classes = level.shape[1], level.shape[2]
            value, index = strongest(level[i].flatten(), threshold, candidates)
            places.append(boxes[i][start + torch.div(index, classes, rounding_mode="floor")])
            values.append(value)
            kinds.append(index % classes)
            start += anchors
        found.append(detections(torch.cat(places), torch.cat(values), torch.cat(kinds), overlap, count))
    return stacked(found)


class FromAnchors(Opaque):
    """A selection among ``anchors`` (a, 4) in pixels moved by offsets.

    ``candidates`` of each level or class, scored above ``least_score``, are considered; ``count`` of an image are kept.
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
        classes: int,
        least_score: float,
        candidates: int,
        overlap: float,
        count: int,
    ) -> None:
        super().__init__()
        self.register_buffer("anchors", anchors)
        self.register_buffer("border", border)
        self.register_buffer("weights", weights)
        self.longest, self.classes, self.least_score = longest, classes, least_score
        self.candidates, self.overlap, self.count = candidates, overlap, count


class BestByLevel(FromAnchors):
    """RetinaNet's selection: each class of each anchor on its own."""

    def forward(self, logits: list[Tensor], offsets: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Levels (n, a * classes, h, w) and (n, a * 4, h, w) to detections."""
        scores = [by_anchor(level, self.classes).sigmoid() for level in logits]
        rows = torch.cat([by_anchor(level, 4) for level in offsets], 1)
        boxes = clipped(decoded(rows, self.anchors, self.weights, self.longest), self.border)
        return best_by_level(scores, boxes, self.least_score, self.candidates, self.overlap, self.count)


class BestCentred(Opaque):
    """FCOS's selection: a box is its sides' distances from a point, and scores less the further off centre that is.

    ``points`` (a, 2) and ``units`` (a, 4), which the distances are counted in, are in pixels.
    """

    points: Tensor
    units: Tensor
    border: Tensor

    def __init__(
        self,
        points: Tensor,
        units: Tensor,
        border: Tensor,
        *,
        classes: int,
        least_score: float,
        candidates: int,
        overlap: float,
        count: int,
    ) -> None:
        super().__init__()
        self.register_buffer("points", points)
        self.register_buffer("units", units)
        self.register_buffer("border", border)
        self.classes, self.least_score = classes, least_score
        self.candidates, self.overlap, self.count = candidates, overlap, count

    def forward(
        self, logits: list[Tensor], distances: list[Tensor], centredness: list[Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Levels (n, a * classes, h, w), (n, a * 4, h, w) and (n, a, h, w) to detections."""
        scores = [
            torch.sqrt(by_anchor(logits[i], self.classes).sigmoid() * by_anchor(centredness[i], 1).sigmoid())
            for i in range(len(logits))
        ]
        far = torch.cat([by_anchor(level, 4) for level in distances], 1) * self.units
        boxes = clipped(torch.cat([self.points - far[..., :2], self.points + far[..., 2:]], -1), self.border)
        return best_by_level(scores, boxes, self.least_score, self.candidates, self.overlap, self.count)


class BestByClass(FromAnchors):
    """SSD's selection: the best boxes of each class but the background, class 0, then of all."""

    def forward(self, logits: list[Tensor], offsets: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Levels (n, a * classes, h, w) and (n, a * 4, h, w) to detections."""
        scores = F.softmax(torch.cat([by_anchor(level, self.classes) for level in logits], 1), -1)
        rows = torch.cat([by_anchor(level, 4) for level in offsets], 1)
        boxes = clipped(decoded(rows, self.anchors, self.weights, self.longest), self.border)
        found: list[tuple[Tensor, Tensor, Tensor]] = []
        for i in range(len(boxes)):
            places: list[Tensor] = []
            values: list[Tensor] = []
            kinds: list[Tensor] = []
            for kind in range(self.classes - 1):
                value, index = strongest(scores[i, :, kind + 1], self.least_score, self.candidates)
                places.append(boxes[i][index])
                values.append(value)
                kinds.append(torch.full_like(index, kind + 1))
            found.append(detections(torch.cat(places), torch.cat(values), torch.cat(kinds), self.overlap, self.count))
        return stacked(found)
