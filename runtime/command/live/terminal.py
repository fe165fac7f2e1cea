"""`Terminal`: the alternate screen of a terminal, redrawn by a thread and left in any case."""

from __future__ import annotations

import os
import shutil
import threading
from types import TracebackType
from typing import Callable, List, Mapping, Optional, TextIO, Type

from legodnn.runtime.command.live.screen import text_of
from legodnn.runtime.command.live.suspension import suspended_by
from legodnn.shared.platform import DEFAULT_TERMINAL, enable_escape_sequences

ENTER, LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[0m\x1b[?25h\x1b[?1049l"
"""Enter the alternate screen and hide the cursor; restore both."""

INTERVAL = 0.2
"""Seconds between two redraws; not tuned."""

Draw = Callable[[int, int], List[str]]
"""Returns the lines for a terminal of so many columns and rows."""


def usable(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether a stream is a terminal that understands escape sequences."""
    return stream.isatty() and environment.get("TERM", DEFAULT_TERMINAL) != "dumb"


class Terminal:
    """A context in which a thread draws on the alternate screen of a terminal.

    `leave` restores the terminal early, also from a signal handler. An exception of drawing or writing is in ``error``;
    leaving the context raises it unless another one is being raised. Ctrl-Z restores the terminal while the process is
    stopped.
    """

    def __init__(self, stream: TextIO, draw: Draw, interval: float = INTERVAL) -> None:
        self.error: Optional[BaseException] = None
        self._stream, self._draw, self._interval = stream, draw, interval
        # Reentrant: a signal handler may interrupt the main thread while it holds the lock.
        self._writing = threading.RLock()
        self._left = self._given = False
        self._suspension = suspended_by(self._give, self._take)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._refresh, name="legodnn-view", daemon=True)

    @property
    def shown(self) -> bool:
        """Whether the alternate screen is shown, so that nothing else may be written to the terminal."""
        return self._thread.ident is not None and not self._left

    def __enter__(self) -> "Terminal":
        self._stream.flush()
        enable_escape_sequences()
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
        """Restore the original screen; a second call does nothing."""
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
        except Exception as error:  # raised where the context is left
            self.error = self.error or error

    def _write(self, text: str) -> None:
        # Bypasses the stream: a signal handler must not write to its buffer during another write.
        data = memoryview(text.encode(self._stream.encoding or "ascii", "replace"))
        while data:
            data = data[os.write(self._stream.fileno(), data) :]
