"""A frame on its way to the network, and what all places that frames come from have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Callable, Iterator, List, Optional

from torch import Tensor


@dataclass(frozen=True)
class Frame:
    """One frame, not yet converted.

    ``number`` is its place in the source, counted from 0. ``load`` makes the network's inputs of it, each a batch of
    one; it raises `InputError` for a frame that turns out to be broken. ``name`` is the file it came from, ``label``
    the right answer, where there is one. ``image`` gives the image (1 or 3, height, width) in [0, 1] that was made to
    fit, where the frame is one.
    """

    number: int
    load: Callable[[], List[Tensor]]
    name: Optional[str] = None
    label: Optional[int] = None
    image: Optional[Callable[[], Tensor]] = None


class FrameSource(ABC):
    """Where frames come from."""

    live = False
    """Whether frames come at their own time (a camera, a pipe), not when they are asked for."""

    @abstractmethod
    def frames(self, wake: Optional[int] = None) -> Iterator[Frame]:
        """The frames, one after the other, none read before it is asked for.

        ``wake`` is a file descriptor: where it becomes readable while a live source waits for data, the frames end.
        Raises `InputError` for a source that holds no whole frame or ends within one, `OSError` where it cannot be
        read.
        """

    def close(self) -> None:  # noqa: B027  (most sources hold nothing open)
        """Let go of what is held open."""
