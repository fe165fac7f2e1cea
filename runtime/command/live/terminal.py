"""The alternate screen of a terminal, drawn again and again, and left whatever happens."""

from __future__ import annotations

import os
import shutil
import threading
from types import TracebackType
from typing import Callable, List, Mapping, Optional, TextIO, Type

from legodnn.runtime.command.live.screen import text_of
from legodnn.runtime.command.live.suspension import suspended_by

ENTER, LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[0m\x1b[?25h\x1b[?1049l"
"""To the alternate screen, without a cursor; and back to what was there before."""

INTERVAL = 0.2
"""Seconds between two frames."""

Draw = Callable[[int, int], List[str]]
"""Lines for a terminal of so many columns and rows."""


def usable(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether a stream is a terminal that understands what is written here."""
    return stream.isatty() and environment.get("TERM", "xterm" if os.name == "nt" else "dumb") != "dumb"


class Terminal:
    """A context in which a thread draws on the alternate screen of a terminal.

    Whoever wants the terminal back early calls `leave`, also from a signal handler. Where drawing or writing fails,
    ``error`` is why; leaving the context raises it unless something else is being raised. Ctrl-Z gives the terminal
    back for as long as the process is stopped.
    """

    def __init__(self, stream: TextIO, draw: Draw, interval: float = INTERVAL) -> None:
        self.error: Optional[BaseException] = None
        self._stream, self._draw, self._interval = stream, draw, interval
        # Reentrant: a signal handler runs in the middle of what the main thread is doing.
        self._writing = threading.RLock()
        self._left = self._given = False
        self._suspension = suspended_by(self._give, self._take)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._refresh, name="legodnn-view", daemon=True)

    @property
    def shown(self) -> bool:
        """Whether the alternate screen is there, and nothing else may be written to the terminal."""
        return self._thread.ident is not None and not self._left

    def __enter__(self) -> "Terminal":
        self._stream.flush()
        if os.name == "nt":
            os.system("")  # makes the console of Windows 10 understand escape sequences
        try:
            self._write(ENTER)
            self._thread.start()
            self._suspension.__enter__()
        except BaseException:
            self.leave()
            raise
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self._suspension.__exit__(None, None, None)
        self.leave()
        self._thread.join()
        if self.error is not None and kind is None:
            raise self.error

    def leave(self) -> None:
        """Go back to the screen that was there before; a second time changes nothing."""
        self._ended.set()
        with self._writing:
            if not self._left:
                self._left = True
                self._try(lambda: self._write(LEAVE))

    def _give(self) -> None:
        with self._writing:
            if not self._left:
                self._given = True
                self._try(lambda: self._write(LEAVE))

    def _take(self) -> None:
        with self._writing:
            if self._given and not self._left:
                self._try(lambda: self._write(ENTER))
            self._given = False

    def _refresh(self) -> None:
        ended = False
        while not ended and self.error is None:
            self._try(self._show)
            ended = self._ended.wait(self._interval)

    def _show(self) -> None:
        size = shutil.get_terminal_size()
        text = text_of(self._draw(size.columns, size.lines))
        with self._writing:
            if not (self._left or self._given):
                self._write(text)

    def _try(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:  # it belongs to whoever leaves the context
            self.error = self.error or error

    def _write(self, text: str) -> None:
        # Past the stream, whose buffer a signal handler must not write to in the middle of a write.
        data = memoryview(text.encode(self._stream.encoding or "ascii", "replace"))
        while data:
            data = data[os.write(self._stream.fileno(), data) :]
