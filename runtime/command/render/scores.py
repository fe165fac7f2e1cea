"""Anomalies: a border by the score and the threshold."""

from __future__ import annotations

from typing import Any, Mapping, Sequence

from torch import Tensor

from legodnn.runtime.command.render.colours import GREEN, RED
from legodnn.runtime.command.render.ground import Ground
from legodnn.shared.tasks.task import Meaning


def draw_border(ground: Ground, results: Mapping[str, Any], outputs: Sequence[Tensor], meaning: Meaning) -> None:
    """Draw a red border for abnormal frames, a green one for normal ones, none without a threshold."""
    if "abnormal" in results:
        ground.canvas.border(RED if results["abnormal"] else GREEN)
