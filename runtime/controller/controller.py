"""`Controller`: keeps what runs within budgets that change, from a thread of its own."""

from __future__ import annotations

import math
import threading
import time
from typing import Callable, List, Optional, TextIO

from legodnn.runtime.controller.chooser import Chooser
from legodnn.runtime.controller.control_loop import Looking
from legodnn.runtime.controller.decider import Decider, Rules
from legodnn.runtime.controller.drift import Drift
from legodnn.runtime.controller.events import Event, Journal, JsonLines, Sink
from legodnn.runtime.controller.mover import Mover
from legodnn.runtime.controller.pauses import Pauses
from legodnn.runtime.controller.sources.source import Source, Tightest
from legodnn.runtime.optimizer import ScalingOptimizer
from legodnn.runtime.optimizer.arguments import check_number
from legodnn.shared.errors import UsageError


class Controller(Looking):
    """Looks at what there is, again and again, and switches a network to the best selection for it.

    A context manager: inside, a thread looks every ``interval`` seconds. To be in charge of the time yourself, call
    `step` instead.

    - A budget that what runs does not meet is obeyed at the next look. Where no selection meets it, the nearest one is
      taken, or what runs stays; that is said once.
    - What runs is replaced by something more accurate once it has run for ``dwell`` seconds, and if the better
      selection leaves ``hysteresis`` of what it needs free: budgets that go to and fro change nothing.
    - Where the median of recent inferences is off the prediction by more than ``tolerance`` for ``patience`` looks with
      new inferences in a row, all predictions are corrected by that factor, which is remembered for each slowdown of
      the device. Half of it is forgotten after every ``forget`` seconds without inferences. An inference is one call of
      the network, whatever the size of its batch.
    - What fails leaves the old selection running, and is tried again after pauses that grow to a minute.
    - However often budgets change, there is one look an interval, at the latest of them, and at most one decision.
      Only monotonic time counts; changes of the wall clock change nothing.
    - While there is a memory budget, compositions kept for the way back are within it, too.

    ``strict``: a switch stays within the memory budget even while old and new composition are both there. Nothing is
    kept for the way back; a switch that needs too much is made in several, by way of smaller selections, and where no
    way is within the budget, a smaller selection is taken, or what runs stays. By the tables of the bundle, what is
    counted are the weights of both compositions, the activations of both, and copies of the variant being loaded. A
    budget that what runs exceeds already cannot be kept: the excess is then made as small as the switch allows. What is
    loaded first may exceed it while it is loaded, where even the smallest selection does. The latencies must have been
    measured before, or the way to run been found, since that composes the teacher.

    Args:
        optimizer: of the network, which is measured where budgets bound time.
        source: of budgets.
        interval: seconds between two looks.
        dwell, hysteresis, patience, tolerance, forget, strict: as above.
        on_event: called with every `Event` in the thread that decides; what it raises is logged and does no harm.
        json_lines: a text stream to which every event is written as a line of JSON.
        clock: monotonic seconds.

    Raises `UsageError` for numbers that cannot be.
    """

    def __init__(
        self,
        optimizer: ScalingOptimizer,
        source: Source,
        *,
        interval: float = 0.5,
        dwell: float = 5.0,
        hysteresis: float = 0.1,
        patience: int = 3,
        tolerance: float = 0.2,
        forget: float = 60.0,
        strict: bool = False,
        on_event: Optional[Sink] = None,
        json_lines: Optional[TextIO] = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        for name, value in (("interval", interval), ("tolerance", tolerance), ("forget", forget)):
            check_number(name, value, "1 or so")
        for name, value in (("dwell", dwell), ("hysteresis", hysteresis)):
            if not (math.isfinite(value) and value >= 0):
                raise UsageError(f"{name} is {value}; give 0 or more")
        if patience < 1:
            raise UsageError(f"patience is {patience}; give 1 look or more")
        sinks: List[Sink] = [on_event] if on_event is not None else []
        if json_lines is not None:
            sinks.append(JsonLines(json_lines))
        watched = Tightest(source)
        mover = Mover(optimizer.network, strict, optimizer.count_activations)
        super().__init__(watched, interval, mover.stop, [optimizer.network])
        self._decider = Decider(
            network=optimizer.network,
            source=watched,
            chooser=Chooser(optimizer, strict),
            mover=mover,
            drift=Drift(tolerance, patience, forget),
            pauses=Pauses(interval),
            journal=Journal(*sinks),
            rules=Rules(dwell, hysteresis, strict),
            clock=clock,
        )
        self._looking = threading.Lock()

    def step(self) -> Optional[Event]:
        """One look at the budget and at most one decision, which is returned where there is one.

        What fails is an event, not an exception. Sources that need to be started must have been.
        """
        with self._looking:
            return self._decider.step()
