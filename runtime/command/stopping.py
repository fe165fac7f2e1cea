"""`Stopping`: Ctrl-C and SIGTERM end a run after the frames in progress."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Callable, Dict, Iterator, Optional, Type

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopAsked(BaseException):
    """A signal arrived while nothing was in progress. A `BaseException`, which error handlers do not catch."""


class Stopping:
    """A context in which Ctrl-C and SIGTERM stop the run, to be entered in the main thread.

    Inside `finishing`, a signal only sets ``asked``; outside it raises `StopAsked` at once, also while waiting for
    data. A second signal ends the process. After SIGTERM the context is left normally; after Ctrl-C leaving it raises
    `KeyboardInterrupt`.

    ``when_asked`` is called first in the signal handler, for clean-up that must precede a second signal; it must not
    raise.
    """

    def __init__(self) -> None:
        self.asked: Optional[int] = None
        self.when_asked: Optional[Callable[[], None]] = None
        self._busy = False
        self._before: Dict[int, Any] = {}

    def __enter__(self) -> "Stopping":
        for number in _SIGNALS:
            # Background jobs of shell scripts start with SIGINT ignored, which must stay so.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> bool:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self.asked == signal.SIGINT and (error is None or isinstance(error, StopAsked)):
            raise KeyboardInterrupt from None
        return isinstance(error, StopAsked)

    @contextmanager
    def finishing(self) -> Iterator[None]:
        """A context that is finished before a signal ends the run."""
        self._busy = True
        try:
            yield
        finally:
            self._busy = False

    def _note(self, number: int, frame: Optional[FrameType]) -> None:
        self.asked = number
        if self.when_asked is not None:
            self.when_asked()
        for each in self._before:
            signal.signal(each, signal.SIG_DFL)
        if not self._busy:
            raise StopAsked
