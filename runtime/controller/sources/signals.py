"""`SignalSteps`: a Unix signal selects the next budget."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any, Optional, Sequence

from legodnn.runtime.controller.budget import Budget
from legodnn.runtime.controller.sources.source import Source
from legodnn.shared.errors import UsageError
from legodnn.shared.platform import STEP_SIGNAL


class SignalSteps(Source):
    """A cycle of budgets; each signal selects the next one.

    Args:
        budgets: at least one; the first holds at the start.
        number: the signal; None for SIGUSR1.

    Raises `UsageError` for no budgets, where the system has no such signals, and, when it is started, outside the main
    thread.
    """

    def __init__(self, budgets: Sequence[Budget], number: Optional[int] = None) -> None:
        if not budgets:
            raise UsageError("no budgets to step through")
        chosen = STEP_SIGNAL if number is None else number
        if chosen is None:
            raise UsageError("this system has no SIGUSR1; give budgets with Callback or Schedule instead")
        self._budgets = tuple(budgets)
        self._number = int(chosen)
        self._steps = 0
        self._before: Any = None
        self._started = False

    def start(self) -> None:
        """Handle the signal. Raises `UsageError` outside the main thread, where Python cannot, or for no signal."""
        if threading.current_thread() is not threading.main_thread():
            raise UsageError("signals can be listened to in the main thread only: start the controller there")
        try:
            self._before = signal.signal(self._number, self._step)
        except (OSError, ValueError) as error:
            raise UsageError(f"signal {self._number} cannot be listened to: {error}") from None
        self._started = True

    def read(self) -> Budget:
        """The selected budget."""
        return self._budgets[self._steps % len(self._budgets)]

    def stop(self) -> None:
        """Restore the signal's handler; outside the main thread, where Python cannot, it stays handled."""
        if self._started and threading.current_thread() is threading.main_thread():
            # None: the handler before was not set from Python, which cannot restore it.
            signal.signal(self._number, signal.SIG_DFL if self._before is None else self._before)
            self._started = False

    def _step(self, number: int, frame: Optional[FrameType]) -> None:
        self._steps += 1
