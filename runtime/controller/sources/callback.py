"""`Callback`: budgets from a function of the user's, whatever it does."""

from __future__ import annotations

import threading
from typing import Callable, Optional

from legodnn.runtime.controller.budget import Budget
from legodnn.runtime.controller.sources.source import Source, complaint
from legodnn.runtime.optimizer.arguments import check_number


class _Call:
    """One call of the function, in a thread of its own."""

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
        except BaseException as error:  # also SystemExit: it must not pass for an answer
            self.error = error
        self._done.set()


class Callback(Source):
    """Budgets from a function that is called at every look, in another thread.

    A call that does not return within ``timeout`` seconds is waited for no longer, and no other one is made before it
    ends: a look is delayed once, and there is never more than one thread. Where the function raises, returns anything
    but a `Budget`, or does not return, its last answer holds; there is no limit before its first.
    """

    def __init__(self, function: Callable[[], Budget], timeout: float = 0.2) -> None:
        check_number("the timeout", timeout, "seconds")
        self._function, self._timeout = function, timeout
        self._last = Budget()
        self._trouble: Optional[str] = None
        self._overdue: Optional[_Call] = None

    @property
    def trouble(self) -> Optional[str]:
        """What is wrong with the function."""
        return self._trouble

    def read(self) -> Budget:
        """What the function says, or said last."""
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
            self._trouble = f"{self._name()} has not returned within {self._timeout:g} s; its last answer holds"
        return self._last

    def _take(self, call: _Call) -> None:
        if isinstance(call.budget, Budget):
            self._last, self._trouble = call.budget, None
        elif call.error is not None:
            self._trouble = f"{complaint(self, call.error)} (from {self._name()}); its last answer holds"
        else:
            self._trouble = f"{self._name()} returned {type(call.budget).__name__}, not Budget; its last answer holds"

    def _name(self) -> str:
        return str(getattr(self._function, "__qualname__", type(self._function).__name__))
