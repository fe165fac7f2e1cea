"""Detections: a box for each object, with its label and score."""

from __future__ import annotations

from typing import Any, Mapping, Sequence

from torch import Tensor

from legodnn.runtime.command.render.colours import colour
from legodnn.runtime.command.render.ground import Ground
from legodnn.shared.tasks.detection import SHOWN
from legodnn.shared.tasks.task import Meaning


def draw_objects(ground: Ground, results: Mapping[str, Any], outputs: Sequence[Tensor], meaning: Meaning) -> None:
    """Draw the boxes with a score of at least `SHOWN`, the highest on top."""
    for row in reversed([row for row in results["objects"] if row["score"] >= SHOWN]):
        left, top, right, bottom = row["box"]
        corner, other = ground.place(left, top), ground.place(right, bottom)
        if all(a < b for a, b in zip(corner, other)):  # False for a NaN
            shade = colour(row["class"])
            ground.canvas.box(*corner, *other, shade)
            ground.canvas.tag(*corner, f"{row['label']} {row['score']:.0%}", shade)
