"""`Pace`: which frames are processed, and when: all, those due, or the latest."""

from __future__ import annotations

import os
import threading
import time
from types import TracebackType
from typing import Iterator, Optional, Type

from legodnn.runtime.frames.source import Frame, FrameSource


class Clock:
    """A monotonic clock with a wait that another thread can end for good."""

    def __init__(self) -> None:
        self._woken = threading.Event()

    def now(self) -> float:
        """Monotonic seconds."""
        return time.monotonic()

    def sleep_until(self, moment: float) -> None:
        """Return at ``moment``, or at once if it is past or `wake` has been called."""
        self._woken.wait(max(0.0, moment - self.now()))

    def wake(self) -> None:
        """End all current and future waits."""
        self._woken.set()


class Pace:
    """All frames, as fast as they are processed; a context manager to iterate over."""

    def __init__(self, source: FrameSource, clock: Optional[Clock] = None) -> None:
        self.source = source
        self._clock = clock or Clock()
        self._stopped = False

    @property
    def dropped(self) -> int:
        """Frames dropped so far."""
        return 0

    def stop(self) -> None:
        """From another thread: end the iteration, also while it waits for a frame to be due."""
        self._stopped = True
        self._clock.wake()

    def __iter__(self) -> Iterator[Frame]:
        return self.source.frames()

    def __enter__(self) -> "Pace":
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        pass


class Due(Pace):
    """Frames of a file or folder when they are due: frame n at n / fps seconds after the start.

    A frame is dropped if the next one is due before it is processed.
    """

    def __init__(self, source: FrameSource, fps: float, clock: Optional[Clock] = None) -> None:
        super().__init__(source, clock)
        self._fps = fps
        self._dropped = 0

    @property
    def dropped(self) -> int:
        """Frames dropped so far."""
        return self._dropped

    def __iter__(self) -> Iterator[Frame]:
        start = self._clock.now()
        for frame in self.source.frames():
            if self._clock.now() >= start + (frame.number + 1) / self._fps:
                self._dropped += 1
                continue
            self._clock.sleep_until(start + frame.number / self._fps)
            if self._stopped:
                return
            yield frame


class Slot:
    """A buffer for one frame between two threads: a newer frame replaces one that has not been taken."""

    def __init__(self) -> None:
        self.dropped = 0
        self._changed = threading.Condition()
        self._frame: Optional[Frame] = None
        self._ended = False
        self._error: Optional[Exception] = None

    def put(self, frame: Frame) -> None:
        """Replace the frame by a newer one."""
        with self._changed:
            self.dropped += self._frame is not None
            self._frame = frame
            self._changed.notify()

    def end(self, error: Optional[Exception] = None) -> None:
        """No frames follow, because of ``error`` if given; only the first call counts."""
        with self._changed:
            if not self._ended:
                self._ended, self._error = True, error
            self._changed.notify()

    def take(self) -> Optional[Frame]:
        """Wait for a frame and take it; after the end return None, or raise its error."""
        with self._changed:
            while self._frame is None and not self._ended:
                self._changed.wait()
            frame, self._frame = self._frame, None
            if frame is None and self._error is not None:
                raise self._error
            return frame


class Latest(Pace):
    """The latest frame of a live source, at most ``fps`` times a second.

    A thread reads frames and holds the newest; those replaced before they were taken are dropped. The thread ends with
    the context, also while it waits for a frame.
    """

    def __init__(self, source: FrameSource, fps: float, clock: Optional[Clock] = None) -> None:
        super().__init__(source, clock)
        self.slot = Slot()
        self._fps = fps
        # A daemon, in case a second interrupt ends the wait for the thread.
        self._thread = threading.Thread(target=self._read, name="legodnn-frames", daemon=True)
        self._wake_reader, self._wake_writer = -1, -1

    @property
    def dropped(self) -> int:
        """Frames dropped so far."""
        return self.slot.dropped

    def stop(self) -> None:
        """See `Pace.stop`; also ends the wait for a frame to arrive."""
        super().stop()
        self.slot.end()

    def __enter__(self) -> "Latest":
        self._wake_reader, self._wake_writer = os.pipe()
        self._thread.start()
        return self

    def __iter__(self) -> Iterator[Frame]:
        due = self._clock.now()
        while True:
            self._clock.sleep_until(due)
            frame = self.slot.take()
            if frame is None or self._stopped:
                return
            due = self._clock.now() + 1 / self._fps
            yield frame

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        os.close(self._wake_writer)  # which makes the other end readable
        self._thread.join()
        os.close(self._wake_reader)

    def _read(self) -> None:
        try:
            for frame in self.source.frames(self._wake_reader):
                self.slot.put(frame)
        except Exception as error:  # raised where frames are taken
            self.slot.end(error)
        else:
            self.slot.end()


def pace(source: FrameSource, fps: Optional[float]) -> Pace:
    """The pace of a source: all frames, or with ``fps`` the latest of a live source, those due of others."""
    if fps is None:
        return Pace(source)
    return Latest(source, fps) if source.live else Due(source, fps)
