"""Which frames are taken, and when: every one, those that are due, or always the latest."""

from __future__ import annotations

import os
import threading
import time
from types import TracebackType
from typing import Iterator, Optional, Type

from legodnn.runtime.frames.source import Frame, FrameSource


class Clock:
    """Seconds that only ever go up, and waiting, which another thread may end for good."""

    def __init__(self) -> None:
        self._woken = threading.Event()

    def now(self) -> float:
        """Seconds since some fixed moment."""
        return time.monotonic()

    def sleep_until(self, moment: float) -> None:
        """Return at ``moment``, or right away where it is past or `wake` has been called."""
        self._woken.wait(max(0.0, moment - self.now()))

    def wake(self) -> None:
        """End the waiting, also that of the future."""
        self._woken.set()


class Pace:
    """Takes every frame, whenever the network is ready; to be used as a context and iterated over."""

    def __init__(self, source: FrameSource, clock: Optional[Clock] = None) -> None:
        self.source = source
        self._clock = clock or Clock()
        self._stopped = False

    @property
    def dropped(self) -> int:
        """How many frames have been passed over so far."""
        return 0

    def stop(self) -> None:
        """From another thread: whoever waits for the time of a frame waits no longer, and gets no more of them."""
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
    """Frame n of a file or folder is due n / fps seconds after the start, and until the next one is.

    One whose time has passed when the network gets to it is dropped.
    """

    def __init__(self, source: FrameSource, fps: float, clock: Optional[Clock] = None) -> None:
        super().__init__(source, clock)
        self._fps = fps
        self._dropped = 0

    @property
    def dropped(self) -> int:
        """How many frames have been passed over so far."""
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
    """Room for one frame between a thread that puts and one that takes: a newer frame replaces one not yet taken."""

    def __init__(self) -> None:
        self.dropped = 0
        self._changed = threading.Condition()
        self._frame: Optional[Frame] = None
        self._ended = False
        self._error: Optional[Exception] = None

    def put(self, frame: Frame) -> None:
        """Make this the latest frame."""
        with self._changed:
            self.dropped += self._frame is not None
            self._frame = frame
            self._changed.notify()

    def end(self, error: Optional[Exception] = None) -> None:
        """There will be no more frames, for this reason if there is one; the first end counts."""
        with self._changed:
            if not self._ended:
                self._ended, self._error = True, error
            self._changed.notify()

    def take(self) -> Optional[Frame]:
        """The latest frame, waiting for one if need be; None after the last, or the reason is raised."""
        with self._changed:
            while self._frame is None and not self._ended:
                self._changed.wait()
            frame, self._frame = self._frame, None
            if frame is None and self._error is not None:
                raise self._error
            return frame


class Latest(Pace):
    """The latest frame of a live source, at most ``fps`` times a second.

    A thread reads frames as they come and keeps one, the newest; those replaced before they were taken are dropped.
    The thread ends with the context, also where it waits for a frame that never comes.
    """

    def __init__(self, source: FrameSource, fps: float, clock: Optional[Clock] = None) -> None:
        super().__init__(source, clock)
        self.slot = Slot()
        self._fps = fps
        # A daemon, in case whoever holds the context is interrupted a second time while it waits for the thread.
        self._thread = threading.Thread(target=self._read, name="legodnn-frames", daemon=True)
        self._wake_reader, self._wake_writer = -1, -1

    @property
    def dropped(self) -> int:
        """How many frames have been passed over so far."""
        return self.slot.dropped

    def stop(self) -> None:
        """See `Pace.stop`; who waits for a frame that has not come waits no longer, either."""
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
        except Exception as error:  # it belongs to whoever takes the frames
            self.slot.end(error)
        else:
            self.slot.end()


def pace(source: FrameSource, fps: Optional[float]) -> Pace:
    """How frames of a source are taken: all of them, or paced where ``fps`` is given."""
    if fps is None:
        return Pace(source)
    return Latest(source, fps) if source.live else Due(source, fps)
