"""The image files in a folder."""

from __future__ import annotations

import functools
import os
from typing import Callable, Iterator, List, Optional

from torch import Tensor

from legodnn.runtime.frames.source import Frame, Source
from legodnn.shared.datasets.paths import files_in
from legodnn.shared.errors import InputError
from legodnn.shared.vision.images import IMAGE_SUFFIXES, require_pillow
from legodnn.shared.vision.preprocess import Fit, file_image


class Folder(Source):
    """The image files in a folder, not in those inside it, sorted by name.

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
        """See `Source.frames`; a file that is no whole image fails when its frame is loaded."""
        for number, name in enumerate(self.names):
            image = functools.partial(file_image, os.path.join(self.path, name))
            yield Frame(number, functools.partial(self._load, image), name, image=image)

    def _load(self, image: Callable[[], Tensor]) -> List[Tensor]:
        return [self.fit(image())]
