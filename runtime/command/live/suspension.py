"""Ctrl-Z: gives the terminal back while the process is stopped, and takes it again when it continues."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager
from types import FrameType
from typing import Callable, Iterator, Optional

from legodnn.shared.platform import SUSPEND_SIGNAL


@contextmanager
def suspended_by(give: Callable[[], None], take: Callable[[], None]) -> Iterator[None]:
    """A context in which ``give`` is called before Ctrl-Z stops the process, and ``take`` when it continues.

    Does nothing where the system has no such signal, it is ignored, or outside the main thread.
    """
    number = SUSPEND_SIGNAL
    if (
        number is None
        or threading.current_thread() is not threading.main_thread()
        or signal.getsignal(number) is not signal.SIG_DFL
    ):
        yield
        return

    def stop(received: int, frame: Optional[FrameType]) -> None:
        give()
        # By the default action, which does not stop a process that nothing could continue.
        signal.signal(received, signal.SIG_DFL)
        os.kill(os.getpid(), received)
        signal.signal(received, stop)
        take()

    signal.signal(number, stop)
    try:
        yield
    finally:
        signal.signal(number, signal.SIG_DFL)
