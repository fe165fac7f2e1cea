"""Samples as pixels <-> the network's input, read as a device reads frames of pixels.

Folders of images and streams of ``rgb24`` frames go the same way: `rgb_image`, then `Fit` or `ClipFit`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from legodnn.shared.bundle.manifest import InputSpec
from legodnn.shared.vision.clips import ClipFit, takes_clips
from legodnn.shared.vision.preprocess import Fit, rgb_image


def read_pixels(pixels: Tensor, spec: InputSpec) -> Tensor:
    """Pictures, uint8 (n, height, width, 3), or clips, uint8 (n, frames, height, width, 3), as a batch of the network's
    input. Raises `InputError` for a network that takes no pictures, or whose mean or std do not fit its channels."""
    if takes_clips(spec):
        fit = ClipFit(spec)
        return torch.cat([fit.join([fit.fit(_image(frame)) for frame in clip]) for clip in pixels])
    single = Fit(spec)
    return torch.cat([single(_image(picture)) for picture in pixels])


def to_pixels(inputs: Tensor, spec: InputSpec) -> Tensor:
    """The inverse of `read_pixels`, rounded to whole numbers from 0 to 255; values beyond them are cut off, and gray
    becomes three equal colours. Raises as `read_pixels` does."""
    if takes_clips(spec):
        fit = ClipFit(spec)
        clips = [[_bytes(fit.fit.undo(frame)) for frame in fit.split(clip[None])] for clip in inputs]
        return torch.stack([torch.stack(frames) for frames in clips])
    single = Fit(spec)
    return torch.stack([_bytes(single.undo(picture[None])) for picture in inputs])


def _image(pixels: Tensor) -> Tensor:
    height, width, _ = pixels.shape
    return rgb_image(pixels.reshape(-1), width, height)


def _bytes(image: Tensor) -> Tensor:
    """(1 or 3, height, width) in [0, 1] to uint8 (height, width, 3)."""
    return (image * 255).round().byte().expand(3, -1, -1).permute(1, 2, 0).contiguous()
