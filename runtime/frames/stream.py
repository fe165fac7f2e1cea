"""Raw frames from a file, a pipe or a camera, without separators."""

from __future__ import annotations

import functools
import os
import select
import stat
import sys
from io import FileIO
from typing import Iterator, List, Optional

from torch import Tensor

from legodnn.runtime.frames.coding import Coding
from legodnn.runtime.frames.source import Frame, FrameSource
from legodnn.shared.errors import InputError, UsageError

STANDARD_INPUT = "-"


class Stream(FrameSource):
    """The frames in a file or, for ``-``, in standard input.

    One frame is read at a time, so the writer of a pipe waits while the network is busy. Raises `UsageError` for
    a standard input that is closed or a terminal, `InputError` for a file too small for one frame, `OSError` for a
    file that cannot be opened.
    """

    def __init__(self, path: str, coding: Coding) -> None:
        self.coding = coding
        self.name = "standard input" if path == STANDARD_INPUT else path
        # Unbuffered: a thread waiting inside Python's buffered standard input would block the end of the process.
        self._file = FileIO(path) if path != STANDARD_INPUT else FileIO(_standard_input(), closefd=False)
        self._number = self._file.fileno()
        found = os.fstat(self._number)
        self.live = not stat.S_ISREG(found.st_mode)
        if not self.live and path != STANDARD_INPUT and found.st_size < coding.frame_bytes:
            self.close()
            raise self._cut_off(0, found.st_size)

    def frames(self, wake: Optional[int] = None) -> Iterator[Frame]:
        """See `FrameSource.frames`."""
        size = self.coding.frame_bytes
        number = 0
        while True:
            data = bytearray(size)
            filled = self._fill(memoryview(data), wake)
            if filled is None:
                return
            if filled == 0:
                break
            if filled < size:
                raise self._cut_off(number, filled)
            image = functools.partial(self.coding.image, data) if self.coding.image is not None else None
            yield Frame(number, functools.partial(self._load, data), image=image)
            number += 1
        if number == 0:
            raise self._cut_off(0, 0)

    def _cut_off(self, number: int, found: int) -> InputError:
        """The error of a frame of which there are fewer bytes than it takes."""
        what = f"frame {number} has {found} bytes," if number or found else "no frames;"
        return InputError(f"{self.name}: {what} a {self.coding.text} frame has {self.coding.frame_bytes} bytes")

    def close(self) -> None:
        """Close the file; standard input stays open."""
        self._file.close()

    def _load(self, data: bytearray) -> List[Tensor]:
        return [self.coding.decode(data)]

    def _fill(self, view: memoryview, wake: Optional[int]) -> Optional[int]:
        """Fill the view; returns the bytes read, fewer only at the end, or None if ``wake`` ended the wait."""
        filled = 0
        while filled < len(view):
            if wake is not None and wake in select.select([self._number, wake], [], [])[0]:
                return None
            count = self._file.readinto(view[filled:])
            if count is None:  # opened as non-blocking, and no data yet
                select.select([self._number], [], [])
                continue
            if count == 0:
                break
            filled += count
        return filled


def _standard_input() -> int:
    if sys.stdin is None:
        raise UsageError("standard input is closed; pipe frames into it")
    number = sys.stdin.fileno()
    if os.isatty(number):
        raise UsageError("standard input is a terminal; pipe frames into it, or name a file")
    return number
