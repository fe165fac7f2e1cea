"""Segmentations: the classes' colours over the picture, and a legend."""

from __future__ import annotations

from typing import Any, Mapping, Sequence

import torch
from torch import Tensor

from legodnn.runtime.command.render.colours import PALETTE, colour, place
from legodnn.runtime.command.render.ground import Ground
from legodnn.shared.bundle.tensors import tensor_to_bytes
from legodnn.shared.tasks.task import Meaning

OPACITY = 0.5
"""Of a class's colour over the picture; chosen by eye."""


def draw_masks(ground: Ground, results: Mapping[str, Any], outputs: Sequence[Tensor], meaning: Meaning) -> None:
    """Every pixel in the colour of the class with the highest score there."""
    scores = outputs[0][0]
    places = torch.tensor([place(number) for number in range(len(scores))], dtype=torch.uint8)
    found = places[scores.argmax(0).cpu()]
    height, width = found.shape
    ground.canvas.blend(width, height, tensor_to_bytes(found), PALETTE, OPACITY)
    ground.canvas.legend([(colour(row["class"]), f"{row['label']} {row['share']:.0%}") for row in results["classes"]])
