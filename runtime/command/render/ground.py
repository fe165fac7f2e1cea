"""`Ground`: the picture to draw on: a frame's image, or else the network's input as an image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Tuple

import torch
from torch import Tensor

from legodnn.runtime.frames.source import Frame
from legodnn.shared.bundle.manifest import InputSpec
from legodnn.shared.bundle.tensors import tensor_to_bytes
from legodnn.shared.errors import InputError
from legodnn.shared.vision.clips import ClipFit, takes_clips
from legodnn.shared.vision.drawing import Canvas
from legodnn.shared.vision.preprocess import Fit

LEAST, MOST = 384, 1280
"""Pixels of the longer side: smaller pictures are enlarged to about the first, larger ones shrunk to at most the
second;
chosen by eye."""

SHEET = 768
"""Pixels of the longer side of a clip's sheet of frames; chosen by eye."""

GAP = 4
"""Pixels between the frames of a clip; chosen by eye."""


@dataclass(frozen=True)
class Ground:
    """A picture, and its pixels per pixel of the input, (horizontal, vertical)."""

    canvas: Canvas
    scale: Tuple[float, float]

    def place(self, x: float, y: float) -> Tuple[float, float]:
        """The position in the picture of a position in the input, in pixels."""
        return x * self.scale[0], y * self.scale[1]


class Grounds:
    """Makes pictures of frames. Raises `InputError` for a network whose input is neither an image nor a clip."""

    def __init__(self, spec: InputSpec) -> None:
        try:
            self._clip = ClipFit(spec) if takes_clips(spec) else None
            self._fit = self._clip.fit if self._clip is not None else Fit(spec)
        except InputError as error:
            raise InputError(f"--render has nothing to draw on: {str(error).partition(';')[0]}") from None

    @property
    def clips(self) -> bool:
        """Whether pictures are sheets of a clip's frames, which have no positions of the input."""
        return self._clip is not None

    def of(self, frame: Frame, given: Tensor) -> Ground:
        """The picture of a frame whose input is ``given``. Raises the errors of loading the frame's image."""
        if self._clip is not None:
            return Ground(self._sheet(self._clip, given), (1.0, 1.0))
        canvas = _canvas(frame.image() if frame.image is not None else self._fit.undo(given))
        canvas.resize_within(LEAST, MOST)
        height, width = given.shape[-2:]
        return Ground(canvas, (canvas.width / width, canvas.height / height))

    def _sheet(self, clip: ClipFit, given: Tensor) -> Canvas:
        canvases = [_canvas(self._fit.undo(frame)) for frame in clip.split(given)]
        columns = _columns(len(canvases))
        for canvas in canvases:
            canvas.resize_within(SHEET // columns, MOST // columns)
        return Canvas.sheet(canvases, columns, GAP)


def _canvas(image: Tensor) -> Canvas:
    """An image (1 or 3, height, width) in [0, 1]."""
    pixels = (image * 255).round().to(torch.uint8).expand(3, -1, -1).permute(1, 2, 0)
    return Canvas(image.shape[2], image.shape[1], tensor_to_bytes(pixels))


def _columns(count: int) -> int:
    """Columns of a sheet about as high as wide, with a full last row if possible."""
    least = math.ceil(math.sqrt(count))
    return next((columns for columns in range(least, 2 * least - 1) if count % columns == 0), least)
