"""Clips, and the layouts of inputs, that is, the meaning of their dimensions.

    NCHW    images: channels, height, width
    NTCHW   clips, frame after frame: frames, channels, height, width
    NCTHW   clips, channel after channel, as 3-D convolutions take them: channels, frames, height, width

Builder and runtime share this, so that a device makes clips like those of training and evaluation.
"""

from __future__ import annotations

import dataclasses
from typing import List, Mapping, Sequence

import torch
from torch import Tensor

from legodnn.shared.bundle.manifest import InputSpec
from legodnn.shared.vision.preprocess import Fit

LAYOUTS: Mapping[str, int] = {"NCHW": 4, "NTCHW": 5, "NCTHW": 5}
"""The layouts, and the number of dimensions of an input."""

IMAGE_CHANNELS = (1, 3)
"""Channels of gray and of coloured images."""


def usual_layout(shape: Sequence[int]) -> str:
    """The layout that an input of this shape, with its batch dimension, most likely has.

    Five dimensions are clips: NCTHW where the second is 1 or 3 and the third is not, NTCHW otherwise. All else is NCHW.
    """
    if len(shape) != LAYOUTS["NTCHW"]:
        return "NCHW"
    return "NCTHW" if shape[1] in IMAGE_CHANNELS and shape[2] not in IMAGE_CHANNELS else "NTCHW"


def channels(layout: str, shape: Sequence[int]) -> int:
    """The channels of an input of this shape; 0 for one without that dimension."""
    place = layout.find("C")
    return shape[place] if 0 <= place < len(shape) else 0


def spread(count: int, wanted: int) -> List[int]:
    """Indices of ``wanted`` frames spread evenly over ``count``: the middle of each of ``wanted`` equal parts.

    With fewer frames than wanted, some are repeated.
    """
    return [(2 * i + 1) * count // (2 * wanted) for i in range(wanted)]


def takes_clips(spec: InputSpec) -> bool:
    """Whether a network's input is a clip of frames."""
    return "T" in spec.layout and len(spec.shape) == LAYOUTS.get(spec.layout)


class ClipFit:
    """Turns the frames of a clip into the input of a network that takes clips.

    ``length`` is the number of frames of a clip, ``fit`` fits each of them. Raises `InputError` for a network whose
    frames are not images of one or three channels.
    """

    def __init__(self, spec: InputSpec) -> None:
        self._dimension = spec.layout.index("T")
        self.length = spec.shape[self._dimension]
        shape = tuple(size for i, size in enumerate(spec.shape) if i != self._dimension)
        self.fit = Fit(dataclasses.replace(spec, layout="NCHW", shape=shape))

    def join(self, frames: Sequence[Tensor]) -> Tensor:
        """``length`` fitted frames, each a batch of one, as one clip, a batch of one."""
        return torch.stack(list(frames), self._dimension).contiguous()

    def split(self, clip: Tensor) -> List[Tensor]:
        """The inverse of `join`."""
        return list(clip.unbind(self._dimension))
