"""Clips for networks that take them: folders of frames, and a window that slides over a stream."""

from __future__ import annotations

import functools
import os
import select
from collections import deque
from typing import Deque, Iterator, List, Optional, Sequence

from torch import Tensor

from legodnn.runtime.frames.source import Frame, Source
from legodnn.runtime.frames.stream import Stream
from legodnn.shared.datasets.paths import files_in, sub_folders
from legodnn.shared.errors import InputError
from legodnn.shared.vision.clips import ClipFit, spread
from legodnn.shared.vision.images import IMAGE_SUFFIXES, require_pillow
from legodnn.shared.vision.preprocess import file_image


class ClipFolder(Source):
    """A folder of clips, which are folders of image files, or the folder of one clip; all sorted by name.

    A clip's frames are spread evenly over its images; of fewer images than frames some come more than once. Raises
    `MissingExtra` where Pillow is not installed, `InputError` for a folder without images, or with both images and
    clips, `OSError` for one that cannot be read.
    """

    def __init__(self, path: str, fit: ClipFit) -> None:
        require_pillow()
        self.path, self.fit = path, fit
        self.clips = [name for name in sub_folders(path) if files_in(os.path.join(path, name), IMAGE_SUFFIXES)]
        alone = bool(files_in(path, IMAGE_SUFFIXES))
        if alone and self.clips:
            raise InputError(f"{path}: both images and folders of images; is it one clip, or a folder of clips?")
        if not alone and not self.clips:
            raise InputError(f"{path}: no images in this folder, nor in those inside it")
        if alone:
            self.path, name = os.path.split(os.path.abspath(path))
            self.clips = [name]

    def frames(self, wake: Optional[int] = None) -> Iterator[Frame]:
        """See `Source.frames`; a clip with a broken image fails when its frame is loaded."""
        for number, name in enumerate(self.clips):
            yield Frame(number, functools.partial(self._load, name), name)

    def _load(self, name: str) -> List[Tensor]:
        folder = os.path.join(self.path, name)
        names = files_in(folder, IMAGE_SUFFIXES)
        chosen = [names[place] for place in spread(len(names), self.fit.length)]
        return [self.fit.join([self.fit.fit(file_image(os.path.join(folder, image))) for image in chosen])]


class Window(Source):
    """The last frames of a stream as a clip, again whenever half of them are new.

    Frames at the end that are too few for another clip are left out. ``stream`` gives single frames that fit.
    """

    def __init__(self, stream: Stream, fit: ClipFit) -> None:
        self.stream, self.fit = stream, fit
        self.live = stream.live

    def frames(self, wake: Optional[int] = None) -> Iterator[Frame]:
        """See `Source.frames`; each is a clip."""
        length, step = self.fit.length, max(1, self.fit.length // 2)
        latest: Deque[Frame] = deque(maxlen=length)
        clips = 0
        for frame in self.stream.frames(wake):
            latest.append(frame)
            if frame.number + 1 == length + clips * step:
                yield Frame(clips, functools.partial(self._load, tuple(latest)))
                clips += 1
        if not clips and not _readable(wake):
            raise InputError(f"{self.stream.name}: {len(latest)} frames, a clip of this network has {length}")

    def close(self) -> None:
        """Close the stream."""
        self.stream.close()

    def _load(self, frames: Sequence[Frame]) -> List[Tensor]:
        return [self.fit.join([frame.load()[0] for frame in frames])]


def _readable(wake: Optional[int]) -> bool:
    return wake is not None and bool(select.select([wake], [], [], 0)[0])
