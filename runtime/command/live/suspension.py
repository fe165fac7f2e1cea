"""Ctrl-Z: the terminal is given back while the process is stopped, and taken again when it goes on."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager
from types import FrameType
from typing import Callable, Iterator, Optional


@contextmanager
def suspended_by(give: Callable[[], None], take: Callable[[], None]) -> Iterator[None]:
    """Inside, ``give`` is called before Ctrl-Z stops the process, and ``take`` once it goes on.

    Does nothing where there is no such signal, it is ignored, or this is not the main thread.
    """
    number: Optional[int] = getattr(signal, "SIGTSTP", None)
    if (
        number is None
        or threading.current_thread() is not threading.main_thread()
        or signal.getsignal(number) is not signal.SIG_DFL
    ):
        yield
        return

    def stop(received: int, frame: Optional[FrameType]) -> None:
        give()
        # By the system's own rules, which let a process nobody could wake go on.
        signal.signal(received, signal.SIG_DFL)
        os.kill(os.getpid(), received)
        signal.signal(received, stop)
        take()

    signal.signal(number, stop)
    try:
        yield
    finally:
        signal.signal(number, signal.SIG_DFL)
