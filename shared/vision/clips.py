"""Clips. Builder and runtime share this, so that a device makes clips like those of training and evaluation."""

from __future__ import annotations

import dataclasses
from typing import List, Sequence

import torch
from torch import Tensor

from legodnn.shared.bundle.manifest import InputSpec
from legodnn.shared.vision.layouts import LAYOUTS
from legodnn.shared.vision.preprocess import Fit


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
