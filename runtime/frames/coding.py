"""From the raw bytes of a frame to the network's input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Optional

import torch
from torch import Tensor

from legodnn.runtime.frames.pixels import PixelFormat
from legodnn.shared.bundle.manifest import InputSpec
from legodnn.shared.vision.preprocess import Fit


@dataclass(frozen=True)
class Coding:
    """What a stream's bytes mean: bytes in a frame, what such a frame is called, and how it becomes an input.

    ``image`` makes the image of it that has not been made to fit, where frames are pixels.
    """

    text: str
    frame_bytes: int
    decode: Callable[[bytearray], Tensor]
    image: Optional[Callable[[bytearray], Tensor]] = None


def tensors(spec: InputSpec) -> Coding:
    """Frames that are the network's input without the batch dimension: its numbers row by row, little-endian."""
    dtype: torch.dtype = getattr(torch, spec.dtype)

    def decode(data: bytearray) -> Tensor:
        return torch.frombuffer(data, dtype=dtype).reshape(1, *spec.shape[1:])

    return Coding(f"{'x'.join(str(s) for s in spec.shape[1:])} {spec.dtype}", spec.frame.bytes, decode)


def pictures(pixels: PixelFormat, fit: Fit) -> Coding:
    """Frames that are pixels, made to fit the network."""
    return Coding(
        f"{pixels.width}x{pixels.height} {pixels.name}",
        pixels.frame_bytes,
        lambda data: fit(pixels.image(data)),
        pixels.image,
    )
