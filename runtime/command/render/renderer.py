"""`Renderer`: a picture file per frame, with the answer drawn into it."""

from __future__ import annotations

import errno
import os
from typing import Any, Callable, Mapping, Sequence

from torch import Tensor

from legodnn.runtime.command.render.ground import Ground, Grounds
from legodnn.runtime.command.render.masks import draw_masks
from legodnn.runtime.command.render.objects import draw_objects
from legodnn.runtime.command.render.poses import draw_pose
from legodnn.runtime.command.render.scores import draw_border
from legodnn.runtime.frames.source import Frame
from legodnn.shared.bundle.manifest import Manifest
from legodnn.shared.files import atomic_write
from legodnn.shared.tasks.task import Meaning
from legodnn.shared.vision.drawing import require_drawing
from legodnn.shared.vision.images import IMAGE_SUFFIXES

Drawing = Callable[[Ground, Mapping[str, Any], Sequence[Tensor], Meaning], None]

_PLACED: Mapping[str, Drawing] = {"objects": draw_objects, "classes": draw_masks, "keypoints": draw_pose}
"""Drawings of answers with positions in the image, by the key of the results that has them."""

_LONGEST_NAME = 150
"""Bytes of a frame's name in its file's name: file systems allow 255 in all, temporary files add to them."""


class Renderer:
    """Writes pictures of a network's frames into a folder, which is created.

    Raises `MissingExtra` without Pillow, `InputError` for a network that takes no images, `OSError` for a folder that
    cannot be created or written.
    """

    def __init__(self, folder: str, manifest: Manifest) -> None:
        require_drawing()
        self._grounds = Grounds(manifest.input)
        self._folder, self._meaning = folder, Meaning.of(manifest)
        if os.path.lexists(folder) and not os.path.isdir(folder):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), folder)
        os.makedirs(folder, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), folder)

    def __call__(
        self, frame: Frame, inputs: Sequence[Tensor], outputs: Sequence[Tensor], results: Mapping[str, Any], text: str
    ) -> str:
        """Draw the answer to a frame and return the file's path.

        ``results`` and ``text`` are the ``outputs`` as `Task.results` and `Task.text` give them. Raises `OSError` with
        the file where it cannot be written, and the errors of loading the frame's image.
        """
        ground = self._grounds.of(frame, inputs[0])
        placed = next((draw for key, draw in _PLACED.items() if key in results), None)
        if placed is not None and not self._grounds.clips:
            placed(ground, results, outputs, self._meaning)
        else:
            draw_border(ground, results, outputs, self._meaning)
            ground.canvas.caption(text)
        path = os.path.join(self._folder, file_name(frame))
        try:
            atomic_write(path, ground.canvas.png())
        except OSError as error:
            raise OSError(error.errno, error.strerror or str(error), path) from None
        return path


def file_name(frame: Frame) -> str:
    """The file name of a frame's picture: its number, and the frame's name if it has one."""
    if frame.name is None:
        return f"{frame.number:06d}.png"
    stem, suffix = os.path.splitext(frame.name)
    if suffix.lower() not in IMAGE_SUFFIXES:
        stem = frame.name
    while len(os.fsencode(stem)) > _LONGEST_NAME:
        stem = stem[:-1]
    return f"{frame.number:06d}-{stem}.png"
