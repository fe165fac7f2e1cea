"""`Window`: clips from a sliding window over a stream of frames."""

from __future__ import annotations

import functools
import select
from collections import deque
from typing import Deque, Iterator, List, Optional, Sequence

from torch import Tensor

from legodnn.runtime.frames.source import Frame, FrameSource
from legodnn.runtime.frames.stream import Stream
from legodnn.shared.errors import InputError
from legodnn.shared.vision.clips import ClipFit


class Window(FrameSource):
    """The latest frames of a stream as a clip, each time half of them are new.

    Frames at the end that are too few for another clip are dropped. ``stream`` yields single fitted frames.
    """

    def __init__(self, stream: Stream, fit: ClipFit) -> None:
        self.stream, self.fit = stream, fit
        self.live = stream.live

    def frames(self, wake: Optional[int] = None) -> Iterator[Frame]:
        """See `FrameSource.frames`; each is a clip."""
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
