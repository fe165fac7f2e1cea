"""`JointController`: keeps several networks within budgets that change, from a thread of its own."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Callable, Optional, Sequence, Type

from legodnn.runtime.controller.events import logger
from legodnn.runtime.controller.joint_decider import JointDecider, JointSink
from legodnn.runtime.controller.source import Source, Tightest
from legodnn.runtime.optimizer import Duty
from legodnn.shared.errors import UsageError

_STOP_SECONDS = 10.0


class JointController:
    """Looks at what there is, again and again, and switches networks to the best selections for it.

    The rules are those of `Controller`, without strictness: what does not fit is replaced at the next look, what would
    be better after ``dwell`` seconds if it leaves ``hysteresis`` of what it needs free. A budget's memory is for all
    networks together, its seconds bound an inference of each, its slowdown counts against deadlines and cores alike.
    While there is a memory budget, nothing is kept for the way back.

    Args:
        duties: what each network has to do; the latencies must have been measured.
        source: of budgets.
        cores: the share of the cores' time that all inferences together may take.
        interval: seconds between two looks.
        dwell, hysteresis: as above.
        on_event: called in the thread that decides with the number of a duty, or None for all, and an `Event`.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        duties: Sequence[Duty],
        source: Source,
        *,
        cores: float = 1.0,
        interval: float = 0.5,
        dwell: float = 5.0,
        hysteresis: float = 0.1,
        on_event: Optional[JointSink] = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.interval = interval
        self._source = Tightest(source)
        self._decider = JointDecider(duties, self._source, cores, interval, dwell, hysteresis, on_event, clock)
        self._stopping = threading.Event()
        self._thread: Optional[threading.Thread] = None

    def step(self) -> bool:
        """One look and at most one decision; whether anything was switched. What fails is an event, no exception."""
        return self._decider.step()

    def start(self) -> None:
        """Look once, so that the first choices run when this returns, and then on in a thread.

        Raises `UsageError` where it runs already, and what starting the source raises.
        """
        if self._thread is not None:
            raise UsageError("the controller runs already")
        self._source.start()
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, name="legodnn-controller", daemon=True)
        try:
            self.step()
            self._thread.start()
        except BaseException:  # Ctrl-C, during a look that takes long
            self._thread = None
            self._let_go()
            raise

    def stop(self) -> None:
        """End the thread after the look it is at; what runs goes on running."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._stopping.set()
        thread.join(_STOP_SECONDS)
        if thread.is_alive():
            logger.warning("a look at the budget takes long; the controller ends after it")
        self._let_go()

    def __enter__(self) -> "JointController":
        self.start()
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.stop()

    def _let_go(self) -> None:
        self._source.stop()
        self._decider.stop()

    def _run(self) -> None:
        while not self._stopping.wait(self.interval):
            try:
                self.step()
            except Exception:  # a defect must not end the thread in silence
                logger.exception("a look at the budget failed")
