"""`Fit`: images -> inputs of a network: its channels, size and normalisation.

An image here is a float32 tensor (channels, height, width) with values in [0, 1]; three channels are red, green, blue.
"""

from __future__ import annotations

from typing import Optional, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from legodnn.shared.bundle.manifest import InputSpec
from legodnn.shared.errors import InputError
from legodnn.shared.vision.images import read_image

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in brightness (ITU-R BT.601)."""

_FLOATING = ("float32", "float64", "float16", "bfloat16")


def rgb_image(data: Tensor, width: int, height: int) -> Tensor:
    """The image of pixels, uint8 (height * width * 3,), row by row, a byte each of red, green and blue."""
    return data.view(height, width, 3).permute(2, 0, 1).float() / 255


def file_image(path: str) -> Tensor:
    """The image (3, height, width) in a file. Raises as `read_image` does."""
    width, height, data = read_image(path)
    return rgb_image(torch.frombuffer(bytearray(data), dtype=torch.uint8), width, height)


class Fit:
    """Turns images into inputs of a network.

    Raises `InputError` for a network that takes no images of one or three channels.
    """

    def __init__(self, spec: InputSpec) -> None:
        shape = spec.shape
        if spec.layout != "NCHW" or len(shape) != 4 or shape[1] not in (1, 3) or spec.dtype not in _FLOATING:
            raise InputError(
                f"this network takes {'x'.join(str(s) for s in shape[1:])} {spec.dtype}, no images of 1 or 3 channels; "
                "give it raw tensors (--format tensor)"
            )
        self.channels, self.size = shape[1], shape[2:]
        self._dtype: torch.dtype = getattr(torch, spec.dtype)
        self._mean = self._per_channel("mean", spec.mean, 0.0)
        self._std = self._per_channel("std", spec.std, 1.0)

    def __call__(self, image: Tensor) -> Tensor:
        """An image (1 or 3, height, width) in [0, 1], of any size, as the network's input, a batch of one.

        The whole image is stretched to the network's size, bilinearly; shrinking averages over all pixels. Gray comes
        from colour by its brightness, colour from gray by repetition. Without a known normalisation values stay in
        [0, 1].
        """
        batch = self._coloured(image)[None]
        batch = F.interpolate(batch, size=self.size, mode="bilinear", align_corners=False, antialias=True)
        return ((batch - self._mean) / self._std).to(self._dtype).contiguous()

    def undo(self, batch: Tensor) -> Tensor:
        """The inverse of normalisation: an input, a batch of one, as an image with values in [0, 1]."""
        return (batch[0].float() * self._std + self._mean).nan_to_num(0.0).clamp(0, 1)

    def _coloured(self, image: Tensor) -> Tensor:
        if image.shape[0] == self.channels:
            return image
        if self.channels == 3:
            return image.expand(3, -1, -1)
        return (image * torch.tensor(LUMA).view(3, 1, 1)).sum(0, keepdim=True)

    def _per_channel(self, name: str, values: Optional[Sequence[float]], default: float) -> Tensor:
        values = (default,) if values is None else values
        if len(values) not in (1, self.channels):
            raise InputError(f"the bundle's {name} has {len(values)} numbers, its input {self.channels} channels")
        return torch.tensor(values, dtype=torch.float32).view(-1, 1, 1)
