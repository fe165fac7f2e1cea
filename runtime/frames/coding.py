"""`Coding`: raw bytes of a frame -> the network's input."""

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
    """How a stream's bytes are read: ``frame_bytes`` per frame, described by ``text``, decoded to an input by
    ``decode``.

    Where frames are pixels, ``image`` decodes the image (3 or 1, height, width) before it is fitted to the network.
    """

    text: str
    frame_bytes: int
    decode: Callable[[bytearray], Tensor]
    image: Optional[Callable[[bytearray], Tensor]] = None


def tensors(spec: InputSpec) -> Coding:
    """Frames that are raw inputs without the batch dimension: row-major, little-endian."""
    dtype: torch.dtype = getattr(torch, spec.dtype)

    def decode(data: bytearray) -> Tensor:
        return torch.frombuffer(data, dtype=dtype).reshape(1, *spec.shape[1:])

    return Coding(f"{'x'.join(str(s) for s in spec.shape[1:])} {spec.dtype}", spec.frame.bytes, decode)


def pictures(pixels: PixelFormat, fit: Fit) -> Coding:
    """Frames of pixels, fitted to the network."""
    return Coding(
        f"{pixels.width}x{pixels.height} {pixels.name}",
        pixels.frame_bytes,
        lambda data: fit(pixels.image(data)),
        pixels.image,
    )
