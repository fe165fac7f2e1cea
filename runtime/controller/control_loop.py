"""`ControlLoop`: the base class of controllers, a thread that reads a budget and decides periodically."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Callable, Optional, Sequence, Type, TypeVar

from legodnn.runtime.controller.events import logger
from legodnn.runtime.controller.sources.source import Source
from legodnn.runtime.network import Network
from legodnn.shared.errors import UsageError

_STOP_SECONDS = 10.0
"""Seconds that `stop` waits for the current iteration before it warns; not tuned."""

AnyLoop = TypeVar("AnyLoop", bound="ControlLoop")


class ControlLoop(ABC):
    """A context manager; inside, a thread calls `step` every ``interval`` seconds.

    Args:
        source: of budgets, started and stopped with the thread.
        interval: seconds between two iterations.
        on_stop: called after the last iteration.
        networks: of which one variant is prefetched after each iteration, within their cache limits.
    """

    def __init__(
        self, source: Source, interval: float, on_stop: Callable[[], None], networks: Sequence[Network]
    ) -> None:
        self.interval = interval
        self._source, self._on_stop, self._networks = source, on_stop, tuple(networks)
        self._stopping = threading.Event()
        self._thread: Optional[threading.Thread] = None

    @abstractmethod
    def step(self) -> object:
        """One iteration: read the budget and make at most one decision. Errors become events, not exceptions."""

    def start(self) -> None:
        """Run one iteration, so that the first choice runs when this returns, then start the thread.

        Raises `UsageError` where it runs already, and the errors of starting the source.
        """
        if self._thread is not None:
            raise UsageError("the controller runs already")
        self._source.start()
        self._stopping = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(self._stopping,), name="legodnn-controller", daemon=True
        )
        try:
            self._guarded_step()
            self._thread.start()
        except BaseException:  # Ctrl-C during a long iteration
            self._thread = None
            self._end()
            raise

    def stop(self) -> None:
        """End the thread after its current iteration; the current selection keeps running."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._stopping.set()
        if thread is not threading.current_thread():
            thread.join(_STOP_SECONDS)
            if thread.is_alive():
                logger.warning("an iteration of the control loop takes long; the controller ends after it")
        self._end()

    def __enter__(self: AnyLoop) -> AnyLoop:
        self.start()
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.stop()

    def _end(self) -> None:
        self._source.stop()
        self._on_stop()

    def _run(self, stopping: threading.Event) -> None:
        while not stopping.wait(self.interval):
            self._guarded_step()

    def _guarded_step(self) -> None:
        try:
            self.step()
            any(network.load_ahead() for network in self._networks)
        except Exception:  # a defect must not end the thread silently
            logger.exception("an iteration of the control loop failed")
