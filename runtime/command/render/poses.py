"""Poses: keypoints and the lines between them, with their scores as opacity."""

from __future__ import annotations

from typing import Any, Dict, Mapping, Sequence, Tuple

from torch import Tensor

from legodnn.runtime.command.render.colours import colour
from legodnn.runtime.command.render.ground import Ground
from legodnn.shared.tasks.task import Meaning

FAINTEST = 0.15
"""The opacity at a score of 0; chosen by eye."""


def draw_pose(ground: Ground, results: Mapping[str, Any], outputs: Sequence[Tensor], meaning: Meaning) -> None:
    """Draw lines, keypoints over them, and a legend of their names, without keypoints far outside the picture."""
    rows = results["keypoints"]
    places = _places(ground, rows)
    opacities = [FAINTEST + (1 - FAINTEST) * min(1.0, max(0.0, row["score"])) for row in rows]
    for first, second in meaning.skeleton:
        if first in places and second in places:
            opacity = min(opacities[first], opacities[second])
            ground.canvas.line(places[first], places[second], colour(second + 1), opacity)
    for number, (x, y) in places.items():
        ground.canvas.dot(x, y, colour(number + 1), opacities[number])
    ground.canvas.legend([(colour(number + 1), rows[number]["label"]) for number in places])


def _places(ground: Ground, rows: Sequence[Mapping[str, Any]]) -> Dict[int, Tuple[float, float]]:
    """Positions of keypoints in the picture by number, without those farther outside than its size."""
    width, height = ground.canvas.width, ground.canvas.height
    places = {number: ground.place(row["x"], row["y"]) for number, row in enumerate(rows)}
    return {n: (x, y) for n, (x, y) in places.items() if -width <= x <= 2 * width and -height <= y <= 2 * height}
