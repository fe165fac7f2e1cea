"""Colours by number, distinguishable with any colour vision.

Okabe, Ito, *Color universal design*, 2008; further numbers get the same hues darker, then lighter.
"""

from __future__ import annotations

from typing import Tuple

from legodnn.shared.vision.drawing import Colour

_HUES: Tuple[Colour, ...] = (
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167),
)  # fmt: skip

ORANGE, SKY, GREEN, YELLOW, BLUE, RED, PURPLE = _HUES


def _shade(colour: Colour, towards: int, share: float) -> Colour:
    red, green, blue = (round(part + (towards - part) * share) for part in colour)
    return red, green, blue


PALETTE: Tuple[Colour, ...] = (
    (96, 96, 96), *_HUES, *(_shade(c, 0, 0.45) for c in _HUES), *(_shade(c, 255, 0.55) for c in _HUES),
)  # fmt: skip
"""The colour of number 0, mostly the background, then those of the other numbers, repeated cyclically."""


def place(number: int) -> int:
    """The index of a number's colour in the `PALETTE`."""
    return number if number <= 0 else (number - 1) % (len(PALETTE) - 1) + 1


def colour(number: int) -> Colour:
    """The colour of a class or keypoint, counted from 0."""
    return PALETTE[place(number)]
