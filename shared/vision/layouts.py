"""The layouts of inputs, that is, the meaning of their dimensions.

    NCHW    images: channels, height, width
    NTCHW   clips, frame after frame: frames, channels, height, width
    NCTHW   clips, channel after channel, as 3-D convolutions take them: channels, frames, height, width
"""

from __future__ import annotations

from typing import Mapping, Sequence

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
