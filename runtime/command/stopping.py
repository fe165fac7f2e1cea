"""Ctrl-C and SIGTERM: what is underway is finished, then the run ends in good order."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Callable, Dict, Iterator, Optional, Type

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopAsked(BaseException):
    """A signal came while nothing was underway. No error, so nothing that handles errors may take it for one."""


class Stopping:
    """A context in which Ctrl-C and SIGTERM stop the run, to be entered in the main thread.

    While something is `finishing`, the signal is only noted in ``asked``; at other times it raises `StopAsked` on the
    spot, also out of waiting for data. A second signal ends the process at once. Leaving the context after SIGTERM is
    an orderly end; after Ctrl-C it raises `KeyboardInterrupt`, for the command to report as every interruption.

    ``when_asked`` is called first of all, for what must be in order even if a second signal follows; it must not raise.
    """

    def __init__(self) -> None:
        self.asked: Optional[int] = None
        self.when_asked: Optional[Callable[[], None]] = None
        self._busy = False
        self._before: Dict[int, Any] = {}

    def __enter__(self) -> "Stopping":
        for number in _SIGNALS:
            # A shell script's background jobs are started with Ctrl-C ignored, and must stay so.
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
        """What is done in this context is finished before the run ends."""
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
