"""Clips, and the layouts of inputs: which dimension of an input is what.

    NCHW    images: channels, height, width
    NTCHW   clips, frame after frame: frames, channels, height, width
    NCTHW   clips, channel after channel, as 3-D convolutions take them: channels, frames, height, width

Both halves read this, so that a device makes clips as the network was trained and judged on.
"""

from __future__ import annotations

from typing import List, Mapping, Sequence

LAYOUTS: Mapping[str, int] = {"NCHW": 4, "NTCHW": 5, "NCTHW": 5}
"""The layouts, and how many dimensions an input has in them."""

IMAGE_CHANNELS = (1, 3)
"""How many channels gray and coloured images have."""


def usual_layout(shape: Sequence[int]) -> str:
    """The layout that an input of this shape, with its batch dimension, most likely has.

    Five dimensions are clips: NCTHW where the second is 1 or 3 and the third is not, NTCHW otherwise. All else is NCHW.
    """
    if len(shape) != LAYOUTS["NTCHW"]:
        return "NCHW"
    return "NCTHW" if shape[1] in IMAGE_CHANNELS and shape[2] not in IMAGE_CHANNELS else "NTCHW"


def channels(layout: str, shape: Sequence[int]) -> int:
    """How many channels an input of this shape has; 0 for one without such a dimension."""
    place = layout.find("C")
    return shape[place] if 0 <= place < len(shape) else 0


def spread(count: int, wanted: int) -> List[int]:
    """Numbers of ``wanted`` frames spread evenly over ``count``: each from the middle of its share of them.

    Where there are fewer than wanted, some come more than once.
    """
    return [(2 * i + 1) * count // (2 * wanted) for i in range(wanted)]
