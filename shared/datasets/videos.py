"""Action recognition: a folder with a sub-folder for each class, with clips: folders of frames, or video files.

The network's frames are spread evenly over the clip: it is divided into parts of equal length, and the middle frame of
each is taken. In a clip of fewer frames than the network takes, some are repeated in order.
"""

from __future__ import annotations

import functools
import os
from typing import List, Sequence

import torch
from torch import Tensor

from legodnn.shared.bundle.manifest import InputSpec
from legodnn.shared.datasets.dataset import Classes, Dataset, Example, Loaded, Skipped
from legodnn.shared.datasets.folders import class_names
from legodnn.shared.datasets.paths import files_in, in_order, require_some, sub_folders
from legodnn.shared.errors import DataError, InputError
from legodnn.shared.vision.clips import ClipFit, spread, takes_clips
from legodnn.shared.vision.images import IMAGE_SUFFIXES, require_pillow
from legodnn.shared.vision.preprocess import file_image, rgb_image
from legodnn.shared.vision.video import VIDEO_SUFFIXES, count_frames, read_frames, require_pyav


def open_clips(path: str, spec: InputSpec) -> Dataset:
    """Clips in a folder with a sub-folder for each class; truths are labels, int64 (1,)."""
    if not takes_clips(spec):
        shape = "x".join(str(s) for s in spec.shape[1:])
        raise DataError(f"{path}: clips are for networks that take several frames at once, this one takes {shape}")
    classes = Classes(spec.labels)
    examples: List[Example] = []
    skipped: List[Skipped] = []
    for name in class_names(path):
        folder = os.path.join(path, name)
        clip = Clip(spec, classes.number(name, path))
        videos = files_in(folder, VIDEO_SUFFIXES)
        frames = sub_folders(folder)
        if videos:
            require_pyav()
        if frames:
            require_pillow()
        for found, load in ((frames, clip.of_folder), (videos, clip.of_video)):
            for each in found:
                examples.append(Example(os.path.join(name, each), functools.partial(load, os.path.join(folder, each))))
        loose = files_in(folder, IMAGE_SUFFIXES)
        skipped += [Skipped(os.path.join(name, each), "an image, not a clip: frames have a folder") for each in loose]
    require_some(examples, path, "clips in its sub-folders: folders of frames, or video files")
    return Dataset(path, tuple(sorted(examples, key=lambda example: example.name)), tuple(skipped))


class Clip:
    """Reads clips of one class for one network."""

    def __init__(self, spec: InputSpec, truth: int) -> None:
        self._fit = ClipFit(spec)
        self._truth = truth

    def of_folder(self, path: str) -> Loaded:
        """The clip of the image files in a folder, in natural order. Raises `InputError`."""
        names = in_order(files_in(path, IMAGE_SUFFIXES))
        if not names:
            raise InputError(f"{path}: no frames ({', '.join(IMAGE_SUFFIXES)})")
        chosen = [names[i] for i in spread(len(names), self._fit.length)]
        read = {name: self._fit.fit(file_image(os.path.join(path, name))) for name in sorted(set(chosen))}
        return self._loaded([read[name] for name in chosen], len(names))

    def of_video(self, path: str) -> Loaded:
        """The clip in a video file. Raises `InputError`."""
        count = count_frames(path)
        if count == 0:
            raise InputError(f"{path}: no frames")
        images = [
            rgb_image(torch.frombuffer(bytearray(data), dtype=torch.uint8), width, height)
            for width, height, data in read_frames(path, spread(count, self._fit.length))
        ]
        return self._loaded([self._fit.fit(image) for image in images], count)

    def _loaded(self, frames: Sequence[Tensor], there: int) -> Loaded:
        """Frames, each a batch of one, as a clip."""
        truth, wanted = torch.tensor([self._truth]), self._fit.length
        remarks = (f"{there} frames, the network takes {wanted}: some came more than once",) if there < wanted else ()
        return Loaded(self._fit.join(frames), (truth,), remarks)
