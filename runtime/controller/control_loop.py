"""`Looking`: a look at a budget again and again, from a thread of its own; what all controllers have in common."""

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

AnyLooking = TypeVar("AnyLooking", bound="Looking")


class Looking(ABC):
    """A context manager: inside, a thread looks every ``interval`` seconds.

    Args:
        source: of budgets, started and stopped with the thread.
        interval: seconds between two looks.
        let_go: called when there will be no more looks.
        networks: of which a variant is loaded ahead after each look, while there is one and room for it.
    """

    def __init__(
        self, source: Source, interval: float, let_go: Callable[[], None], networks: Sequence[Network]
    ) -> None:
        self.interval = interval
        self._source, self._let_go, self._networks = source, let_go, tuple(networks)
        self._stopping = threading.Event()
        self._thread: Optional[threading.Thread] = None

    @abstractmethod
    def step(self) -> object:
        """One look and at most one decision. What fails is an event, not an exception."""

    def start(self) -> None:
        """Look once, so that the first choice runs when this returns, and then on in a thread.

        Raises `UsageError` where it runs already, and what starting the source raises.
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
        except BaseException:  # Ctrl-C, during a look that takes long
            self._thread = None
            self._end()
            raise

    def stop(self) -> None:
        """End the thread after the look it is at; what runs goes on running."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._stopping.set()
        if thread is not threading.current_thread():
            thread.join(_STOP_SECONDS)
            if thread.is_alive():
                logger.warning("a look at the budget takes long; the controller ends after it")
        self._end()

    def __enter__(self: AnyLooking) -> AnyLooking:
        self.start()
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.stop()

    def _end(self) -> None:
        self._source.stop()
        self._let_go()

    def _run(self, stopping: threading.Event) -> None:
        while not stopping.wait(self.interval):
            self._guarded_step()

    def _guarded_step(self) -> None:
        try:
            self.step()
            any(network.load_ahead() for network in self._networks)
        except Exception:  # a defect must not end the thread in silence
            logger.exception("a look at the budget failed")
