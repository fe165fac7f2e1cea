"""`Background`: jobs in a thread of their own, at a low priority; only the latest request counts."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, Callable, Iterator, Optional, Tuple

from legodnn.shared.platform import lower_priority

NICENESS = 10
"""The nice value of the background thread: where threads outnumber cores, it gets a tenth of another thread's time.

With a higher one it would hold Python's interpreter lock for long while other processes use all cores; with half of it,
twice as many inferences were late while two networks were switched that keep two cores busy."""

TURN_SECONDS = 1e-4
"""Python's switch interval in seconds while a composition is made: the default of 5 ms exceeds many inferences."""


class Background:
    """Runs jobs one after the other; a later one replaces one that has not begun.

    The thread, called ``name``, exists while there are jobs.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._next: "Optional[Tuple[Future[Any], Callable[[], Any]]]" = None
        self._thread: Optional[threading.Thread] = None

    @property
    def is_current(self) -> bool:
        """Whether the caller is this object's thread."""
        return threading.current_thread() is self._thread

    def submit(self, job: Callable[[], Any]) -> "Future[Any]":
        """Queue a job; the future has its result or exception."""
        future: "Future[Any]" = Future()
        with self._lock:
            self._drop_next()
            self._next = (future, job)
            if self._thread is None:
                thread = threading.Thread(target=self._work, name=self._name, daemon=False)
                thread.start()
                self._thread = thread
        return future

    def close(self) -> None:
        """Cancel the job that has not begun, and return when the running one is done."""
        with self._lock:
            self._drop_next()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _drop_next(self) -> None:
        if self._next is not None:
            self._next[0].cancel()
            self._next[0].set_running_or_notify_cancel()
            self._next = None

    def _work(self) -> None:
        lower_priority(NICENESS)  # yields to inference
        while True:
            with self._lock:
                if self._next is None:
                    self._thread = None
                    return
                (future, job), self._next = self._next, None
            if future.set_running_or_notify_cancel():
                _do(future, job)
            del future, job  # else they would stay referenced until the next job


def _do(future: "Future[Any]", job: Callable[[], Any]) -> None:
    try:
        result = job()
    except BaseException as error:
        future.set_exception(error)
    else:
        future.set_result(result)


class _Turns:
    """Python's process-wide switch interval: short while any thread asks for it, then restored."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asking = 0
        self._before = 0.0

    @contextmanager
    def short(self) -> Iterator[None]:
        """A context in which threads waiting for the interpreter lock get it within `TURN_SECONDS`."""
        with self._lock:
            if self._asking == 0:
                self._before = sys.getswitchinterval()
                sys.setswitchinterval(min(TURN_SECONDS, self._before))
            self._asking += 1
        try:
            yield
        finally:
            with self._lock:
                self._asking -= 1
                if self._asking == 0:
                    sys.setswitchinterval(self._before)


short_turns = _Turns().short
