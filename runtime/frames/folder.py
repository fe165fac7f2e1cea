"""Folders of image files, and folders of clips, which are folders of image files."""

from __future__ import annotations

import functools
import os
from typing import Callable, Iterator, List, Optional

from torch import Tensor

from legodnn.runtime.frames.source import Frame, FrameSource
from legodnn.shared.datasets.paths import files_in, sub_folders
from legodnn.shared.errors import InputError
from legodnn.shared.vision.clips import ClipFit, spread
from legodnn.shared.vision.images import IMAGE_SUFFIXES, require_pillow
from legodnn.shared.vision.preprocess import Fit, file_image


class Folder(FrameSource):
    """The image files in a folder without its sub-folders, sorted by name.

    Raises `MissingExtra` where Pillow is not installed, `InputError` for a folder without images, `OSError` for one
    that cannot be read.
    """

    def __init__(self, path: str, fit: Fit) -> None:
        require_pillow()
        self.path, self.fit = path, fit
        self.names = files_in(path, IMAGE_SUFFIXES)
        if not self.names:
            raise InputError(f"{path}: no images in this folder ({', '.join(IMAGE_SUFFIXES)})")

    def frames(self, wake: Optional[int] = None) -> Iterator[Frame]:
        """See `FrameSource.frames`; a broken image raises when its frame is loaded."""
        for number, name in enumerate(self.names):
            image = functools.partial(file_image, os.path.join(self.path, name))
            yield Frame(number, functools.partial(self._load, image), name, image=image)

    def _load(self, image: Callable[[], Tensor]) -> List[Tensor]:
        return [self.fit(image())]


class ClipFolder(FrameSource):
    """A folder of clips, which are folders of image files, or the folder of one clip; all sorted by name.

    A clip's frames are spread evenly over its images; with fewer images than frames, some are repeated. Raises
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
        """See `FrameSource.frames`; a clip with a broken image raises when its frame is loaded."""
        for number, name in enumerate(self.clips):
            yield Frame(number, functools.partial(self._load, name), name)

    def _load(self, name: str) -> List[Tensor]:
        folder = os.path.join(self.path, name)
        names = files_in(folder, IMAGE_SUFFIXES)
        chosen = [names[place] for place in spread(len(names), self.fit.length)]
        return [self.fit.join([self.fit.fit(file_image(os.path.join(folder, image))) for image in chosen])]
