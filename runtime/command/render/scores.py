"""Anomalies: the score against the threshold."""

from __future__ import annotations

from typing import Any, Mapping, Sequence

from torch import Tensor

from legodnn.runtime.command.render.colours import GREEN, RED
from legodnn.runtime.command.render.ground import Ground
from legodnn.shared.tasks.task import Meaning


def draw_border(ground: Ground, facts: Mapping[str, Any], outputs: Sequence[Tensor], meaning: Meaning) -> None:
    """A red border around what is abnormal, a green one around what is normal, none where nobody can tell."""
    if "abnormal" in facts:
        ground.canvas.border(RED if facts["abnormal"] else GREEN)
