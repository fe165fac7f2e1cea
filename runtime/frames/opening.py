"""The source for a value of `--input`."""

from __future__ import annotations

import os
from typing import Optional

from legodnn.runtime.frames import coding
from legodnn.runtime.frames.folder import ClipFolder, Folder
from legodnn.runtime.frames.pixels import PixelFormat
from legodnn.runtime.frames.source import FrameSource
from legodnn.runtime.frames.stream import STANDARD_INPUT, Stream
from legodnn.runtime.frames.window import Window
from legodnn.runtime.network import Network
from legodnn.shared.errors import InputError
from legodnn.shared.vision.clips import ClipFit, takes_clips
from legodnn.shared.vision.preprocess import Fit


def open_source(path: str, network: Network, pixels: Optional[PixelFormat] = None) -> FrameSource:
    """Open a folder of images or clips, or a stream of raw frames from a file or (``-``) standard input.

    ``pixels`` is the format of a stream's frames; None for raw tensors. Networks that take clips get one for every
    folder of images, or a window that slides over a stream of pixels. Raises `LegoError` or `OSError` for a source
    that cannot be read, or whose frames do not fit the network.
    """
    inputs = len(network.manifest.network_inputs)
    if inputs != 1:
        raise InputError(f"this network takes {inputs} inputs at once; frames can be given to networks with one")
    spec, clips = network.input, takes_clips(network.input)
    if path != STANDARD_INPUT and os.path.isdir(path):
        return ClipFolder(path, ClipFit(spec)) if clips else Folder(path, Fit(spec))
    if pixels is None:
        return Stream(path, coding.tensors(spec))
    if clips:
        fit = ClipFit(spec)
        return Window(Stream(path, coding.pictures(pixels, fit.fit)), fit)
    return Stream(path, coding.pictures(pixels, Fit(spec)))
