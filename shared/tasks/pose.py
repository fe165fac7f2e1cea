"""Pose estimation: positions of keypoints.

Outputs are (n, k, 3): x, y in pixels of the input, and a score. Truths are keypoints (n, k, 3), float32: x, y and
whether the keypoint is visible (above 0), and the size (n,) of the subject in pixels, the unit of errors.
"""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Sequence

import torch
from torch import Tensor

from legodnn.shared.errors import DataError
from legodnn.shared.tasks.chance import Chance
from legodnn.shared.tasks.task import Meaning, Meter, Part, Task, check_lengths

NEAR, VERY_NEAR = 0.1, 0.05
"""Distances, in sizes of the subject, within which a keypoint is found (PCK: Yang, Ramanan, 2013)."""


class MeanPose(Chance):
    """The chance level: every keypoint at the mean of its visible positions."""

    def __init__(self) -> None:
        self._keypoints: List[Tensor] = []
        self._sizes: List[Tensor] = []

    def add(self, truths: Sequence[Any]) -> None:
        """See `Chance.add`."""
        keypoints, sizes = truths
        self._keypoints.append(keypoints.cpu().float())
        self._sizes.append(sizes.cpu().float())

    def figures(self) -> Dict[str, float]:
        """See `Chance.figures`."""
        if not self._keypoints:
            return _figures(torch.zeros(0))
        keypoints, sizes = torch.cat(self._keypoints), torch.cat(self._sizes)
        weight = (keypoints[..., 2:] > 0).float()
        mean = (keypoints[..., :2] * weight).sum(0) / weight.sum(0).clamp(min=1)
        return _figures(_distances(mean.expand(len(keypoints), -1, -1), keypoints, sizes))


class PoseMeter(Meter):
    """The share of visible keypoints found within a tenth and a twentieth of the size, and the mean distance.

    A position that is not finite is infinitely far; there is no mean distance then.
    """

    def __init__(self) -> None:
        self._distances: List[Tensor] = []
        self._numbers: List[Tensor] = []

    def add(self, outputs: Sequence[Tensor], truths: Sequence[Any]) -> None:
        """See `Meter.add`."""
        found, (wanted, sizes) = outputs[0].detach().float().cpu(), truths
        wanted, sizes = wanted.cpu().float(), sizes.cpu().float()
        check_lengths(len(found), len(wanted))
        if found.shape[1] != wanted.shape[1]:
            raise DataError(f"{wanted.shape[1]} keypoints in the data, {found.shape[1]} in the network's answer")
        if not bool((sizes > 0).all()):
            raise DataError("a pose without a size: errors cannot be measured in it")
        check_lengths(len(wanted), len(sizes))
        if not bool((sizes < float("inf")).all() & wanted[..., :2][wanted[..., 2] > 0].isfinite().all()):
            raise DataError("a pose in the data whose positions or size are not finite")
        distances = _distances(found[..., :2], wanted, sizes)
        self._distances.append(torch.where(distances.isfinite(), distances, torch.full_like(distances, float("inf"))))
        self._numbers.append((wanted[..., 2] > 0).nonzero()[:, 1])

    def figures(self) -> Dict[str, float]:
        """See `Meter.figures`; the error is in sizes of the subjects."""
        return _figures(torch.cat([torch.zeros(0), *self._distances]))

    def parts(self) -> Sequence[Part]:
        """See `Meter.parts`: the same for every keypoint that is visible somewhere."""
        numbers = torch.cat([torch.zeros(0, dtype=torch.long), *self._numbers])
        distances = torch.cat([torch.zeros(0), *self._distances])
        found = []
        for number in sorted(set(numbers.tolist())):
            own = distances[numbers == number]
            figures: Dict[str, Optional[float]] = {**_figures(own)}
            figures.setdefault("mean error", None)
            found.append(Part(number, len(own), figures))
        return found

    @property
    def lost(self) -> int:
        """See `Meter.lost`: visible keypoints."""
        return sum(int(part.isinf().sum()) for part in self._distances)


def _distances(found: Tensor, wanted: Tensor, sizes: Tensor) -> Tensor:
    """Distances of positions (n, k, 2) from visible keypoints (n, k, 3), in sizes (n,), as (visible,)."""
    distances: Tensor = (found - wanted[..., :2]).norm(dim=2) / sizes.unsqueeze(1)
    return distances[wanted[..., 2] > 0]


def _figures(distances: Tensor) -> Dict[str, float]:
    if not len(distances):
        raise DataError("nothing to judge: no visible keypoints")
    found = {
        f"PCK@{NEAR:g}": float((distances <= NEAR).double().mean()),
        f"PCK@{VERY_NEAR:g}": float((distances <= VERY_NEAR).double().mean()),
    }
    if bool(distances.isfinite().all()):
        found["mean error"] = float(distances.double().mean())
    return found


class Pose(Task):
    """Networks whose output is a position and a score for every keypoint (n, k, 3)."""

    name, metric, counted = "pose estimation", "PCK@0.1", "visible"
    part, parts = "keypoint", "keypoints"

    def meter(self) -> PoseMeter:
        """See `Task.meter`."""
        return PoseMeter()

    def chance(self) -> MeanPose:
        """See `Task.chance`."""
        return MeanPose()

    def reads(self, outputs: Sequence[Tensor]) -> bool:
        """See `Task.reads`."""
        return outputs[0].dim() == 3 and outputs[0].shape[2] == 3

    def results(self, outputs: Sequence[Tensor], meaning: Meaning) -> Dict[str, Any]:
        """``keypoints``: a name, x, y and a score for each."""
        rows = outputs[0][0].tolist()
        return {
            "keypoints": [{"label": meaning.name(i), "x": x, "y": y, "score": s} for i, (x, y, s) in enumerate(rows)]
        }

    def text(self, results: Mapping[str, Any]) -> str:
        """See `Task.text`."""
        return ", ".join(f"{row['label']} ({row['x']:.0f}, {row['y']:.0f})" for row in results["keypoints"])
