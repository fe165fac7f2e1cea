"""`Frame`: one frame, loaded lazily; `FrameSource`: the base class of sources."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Callable, Iterator, List, Optional

from torch import Tensor


@dataclass(frozen=True)
class Frame:
    """One frame, not yet converted.

    ``number`` is its index in the source, from 0. ``load`` returns the network's inputs, each a batch of one, and
    raises `InputError` for a broken frame. ``name`` is its file, ``label`` the true class, None if unknown. ``image``
    returns the image (1 or 3, height, width) in [0, 1] before it is fitted to the network, where the frame is one.
    """

    number: int
    load: Callable[[], List[Tensor]]
    name: Optional[str] = None
    label: Optional[int] = None
    image: Optional[Callable[[], Tensor]] = None


class FrameSource(ABC):
    """A source of frames."""

    live = False
    """Whether frames arrive at their own rate (a camera, a pipe) rather than on request."""

    @abstractmethod
    def frames(self, wake: Optional[int] = None) -> Iterator[Frame]:
        """Iterate over the frames, each read on request.

        ``wake`` is a file descriptor: if it becomes readable while a live source waits for data, the iteration ends.
        Raises `InputError` for a source without a whole frame or that ends within one, `OSError` where it cannot be
        read.
        """

    def close(self) -> None:  # noqa: B027  (most sources hold nothing open)
        """Close open files."""
