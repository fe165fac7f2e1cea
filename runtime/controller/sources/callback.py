"""`Callback`: budgets from a user's function, which may raise or hang."""

from __future__ import annotations

import threading
from typing import Callable, Optional

from legodnn.runtime.controller.budget import Budget
from legodnn.runtime.controller.sources.source import Source, complaint
from legodnn.runtime.optimizer.arguments import check_number


class _Call:
    """One call of the function in a thread of its own."""

    def __init__(self, function: Callable[[], Budget]) -> None:
        self._function = function
        self._done = threading.Event()
        self.budget: Optional[Budget] = None
        self.error: Optional[BaseException] = None
        # A daemon, since it may never return.
        threading.Thread(target=self._run, name="legodnn-budget", daemon=True).start()

    def ended(self, within: float) -> bool:
        """Whether it ends within these seconds."""
        return self._done.wait(within)

    def _run(self) -> None:
        try:
            self.budget = self._function()
        except BaseException as error:  # also SystemExit, which would otherwise look like no result
            self.error = error
        self._done.set()


class Callback(Source):
    """Budgets from a function that is called once per iteration, in another thread.

    A call that does not return within ``timeout`` seconds (0.2 by default, not tuned) is no longer waited for, and no
    other call is made before it ends: one iteration is delayed, and there is never more than one thread. Where the
    function raises, returns anything but a `Budget`, or does not return, its last budget holds; before the first there
    is no limit.
    """

    def __init__(self, function: Callable[[], Budget], timeout: float = 0.2) -> None:
        check_number("the timeout", timeout, "seconds")
        self._function, self._timeout = function, timeout
        self._last = Budget()
        self._error: Optional[str] = None
        self._overdue: Optional[_Call] = None

    @property
    def trouble(self) -> Optional[str]:
        """The error of the last call; None for none."""
        return self._error

    def read(self) -> Budget:
        """The function's budget, or its last one."""
        call = self._overdue
        if call is not None and not call.ended(within=0.0):
            return self._last
        if call is not None:
            self._take(call)
        call, self._overdue = _Call(self._function), None
        if call.ended(within=self._timeout):
            self._take(call)
        else:
            self._overdue = call
            self._error = f"{self._name()} has not returned within {self._timeout:g} s; its last answer holds"
        return self._last

    def _take(self, call: _Call) -> None:
        if isinstance(call.budget, Budget):
            self._last, self._error = call.budget, None
        elif call.error is not None:
            self._error = f"{complaint(self, call.error)} (from {self._name()}); its last answer holds"
        else:
            self._error = f"{self._name()} returned {type(call.budget).__name__}, not Budget; its last answer holds"

    def _name(self) -> str:
        return str(getattr(self._function, "__qualname__", type(self._function).__name__))
