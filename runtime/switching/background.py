"""`Background`: jobs in a thread of their own, of which only the latest matters, that make way for others."""

from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, Callable, Iterator, Optional, Tuple

NICENESS = 10
"""How far a background thread stands back where threads outnumber cores: it gets a tenth of what another one gets. With
more, it would hold Python's interpreter for long where other processes want all cores; with half as much, twice as many
inferences were late while two networks were switched that keep two cores busy."""

TURN_SECONDS = 1e-4
"""How long a thread may keep Python's interpreter from others while something is made, where it can be stopped at all.
Usually it is 5 ms, which is more than many an inference takes."""


class Background:
    """Runs jobs one after the other; one that has not begun is dropped for a later one.

    There is a thread while there is something to do. ``name`` is its name.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._next: "Optional[Tuple[Future[Any], Callable[[], Any]]]" = None
        self._thread: Optional[threading.Thread] = None

    @property
    def is_current(self) -> bool:
        """Whether it is this one's thread that asks."""
        return threading.current_thread() is self._thread

    def submit(self, job: Callable[[], Any]) -> "Future[Any]":
        """Ask for a job; the future has what it returns or raises."""
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
        """Drop what has not begun, and return when what has begun is done."""
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
        _stand_back()
        while True:
            with self._lock:
                if self._next is None:
                    self._thread = None
                    return
                (future, job), self._next = self._next, None
            if future.set_running_or_notify_cancel():
                _do(future, job)
            del future, job  # whatever they hold must not outlive them here


def _do(future: "Future[Any]", job: Callable[[], Any]) -> None:
    try:
        result = job()
    except BaseException as error:
        future.set_exception(error)
    else:
        future.set_result(result)


def _stand_back() -> None:
    """Let the scheduler prefer other threads to this one."""
    if sys.platform == "linux":  # elsewhere it would be the whole process
        me = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, me, max(NICENESS, os.getpriority(os.PRIO_PROCESS, me)))


class _Turns:
    """Python's switch interval, which is the process's: short while anybody asks for it, and then what it was."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asking = 0
        self._before = 0.0

    @contextmanager
    def short(self) -> Iterator[None]:
        """Within this, threads that wait for the interpreter get it soon."""
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
