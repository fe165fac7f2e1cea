"""Raw pixels as ffmpeg and cameras write them, turned into images.

An image here is a float32 tensor (channels, height, width) with values in [0, 1]; three channels are red, green, blue.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Callable, Mapping, Tuple

import torch
from torch import Tensor

from legodnn.shared.errors import UsageError
from legodnn.shared.vision.preprocess import LUMA, rgb_image

_LARGEST_SIDE = 16384
"""Pixels: bounds the bytes of a frame; not tuned."""

_SIZE = re.compile(r"([0-9]{1,9})x([0-9]{1,9})")


def parse_size(text: str) -> Tuple[int, int]:
    """Width and height in ``640x480``. Raises `UsageError` for anything else."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise UsageError(f"--size {text}: width and height expected, like 640x480")
    width, height = int(match.group(1)), int(match.group(2))
    if not (0 < width <= _LARGEST_SIDE and 0 < height <= _LARGEST_SIDE):
        raise UsageError(f"--size {text}: width and height must be from 1 to {_LARGEST_SIDE}")
    return width, height


@dataclass(frozen=True)
class PixelFormat:
    """Frames of ``width`` x ``height`` pixels in one of `PIXEL_FORMATS`.

    Raises `UsageError` for an odd size where pairs of pixels share colour values.
    """

    name: str
    width: int
    height: int

    def __post_init__(self) -> None:
        if self.name in _HALVED and (self.width % 2 or self.height % 2):
            raise UsageError(f"--size {self.width}x{self.height}: {self.name} frames have even sides")

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame."""
        return self.width * self.height * PIXEL_FORMATS[self.name].bits // 8

    def image(self, data: bytearray) -> Tensor:
        """The image in the bytes of one frame: (3, height, width), or (1, height, width) for gray ones."""
        return PIXEL_FORMATS[self.name].image(torch.frombuffer(data, dtype=torch.uint8), self.width, self.height)


def _bgr(data: Tensor, width: int, height: int) -> Tensor:
    return rgb_image(data, width, height).flip(0)


def _gray(data: Tensor, width: int, height: int) -> Tensor:
    return data.view(1, height, width).float() / 255


def _yuv_limited(data: Tensor, width: int, height: int) -> Tensor:
    brightness, colour = _planes(data, width, height)
    return _from_yuv((brightness - 16) / 219, colour / 224)


def _yuv_full(data: Tensor, width: int, height: int) -> Tensor:
    brightness, colour = _planes(data, width, height)
    return _from_yuv(brightness / 255, colour / 255)


def _planes(data: Tensor, width: int, height: int) -> Tuple[Tensor, Tensor]:
    """Brightness (height, width) and the two colour differences (2, height, width) around 0, as stored."""
    brightness = data[: width * height].view(height, width).float()
    colour = data[width * height :].view(2, height // 2, width // 2).float() - 128
    return brightness, colour.repeat_interleave(2, 1).repeat_interleave(2, 2)


def _from_yuv(brightness: Tensor, colour: Tensor) -> Tensor:
    """Brightness in [0, 1] and colour differences in [-0.5, 0.5] as an image (BT.601)."""
    blue_difference, red_difference = colour
    red = brightness + 2 * (1 - LUMA[0]) * red_difference
    blue = brightness + 2 * (1 - LUMA[2]) * blue_difference
    green = (brightness - LUMA[0] * red - LUMA[2] * blue) / LUMA[1]
    return torch.stack([red, green, blue]).clamp(0, 1)


@dataclass(frozen=True)
class _Layout:
    """Bits per pixel, and how the bytes of a frame become an image."""

    bits: int
    image: Callable[[Tensor, int, int], Tensor]


PIXEL_FORMATS: Mapping[str, _Layout] = {
    "rgb24": _Layout(24, rgb_image),
    "bgr24": _Layout(24, _bgr),
    "gray": _Layout(8, _gray),
    "gray8": _Layout(8, _gray),
    "yuv420p": _Layout(12, _yuv_limited),
    "yuvj420p": _Layout(12, _yuv_full),
}
"""The formats by their names in ffmpeg; ``gray8`` is ``gray``. ``yuv420p`` has the range of most video (brightness 16
to
235), ``yuvj420p`` that of JPEG and rpicam-vid (0 to 255)."""

_HALVED = ("yuv420p", "yuvj420p")
