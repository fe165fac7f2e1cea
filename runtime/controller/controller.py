"""`Controller`: keeps a network within changing budgets, from a thread of its own."""

from __future__ import annotations

import math
import threading
import time
from typing import Callable, List, Optional, TextIO

from legodnn.runtime.controller.chooser import Chooser
from legodnn.runtime.controller.control_loop import ControlLoop
from legodnn.runtime.controller.decider import Decider, Rules
from legodnn.runtime.controller.drift import Drift
from legodnn.runtime.controller.events import Event, EventHandler, Journal, JsonLines
from legodnn.runtime.controller.mover import Mover
from legodnn.runtime.controller.pauses import Pauses
from legodnn.runtime.controller.sources.source import Source, Tightest
from legodnn.runtime.optimizer import ScalingOptimizer
from legodnn.runtime.optimizer.arguments import check_number
from legodnn.shared.errors import UsageError


class Controller(ControlLoop):
    """Reads a budget periodically and switches a network to the most accurate selection within it.

    A context manager: inside, a thread runs an iteration every ``interval`` seconds. To run iterations yourself, call
    `step` instead.

    - If the current selection exceeds the budget, it is replaced in the next iteration. If no selection fits, the
      nearest one is taken, or the current one stays; one event reports it.
    - A more accurate selection replaces the current one after ``dwell`` seconds, if it leaves ``hysteresis`` of its
      needs free, so that oscillating budgets cause no switches.
    - If the median of recent inferences is off the prediction by more than ``tolerance`` in ``patience`` consecutive
      iterations with new inferences, all predictions are corrected by that factor, which is remembered for each
      slowdown of the device. Half of it is forgotten after every ``forget`` seconds without inferences. An inference is
      one call of the network, whatever its batch size.
    - After an error the current selection stays, and the decision is tried again after pauses that increase to 60 s.
    - However often budgets change, an iteration reads the latest one and makes at most one decision. Only monotonic
      time counts, not the wall clock.
    - A memory budget also bounds cached compositions.

    ``strict``: a switch stays within the memory budget also while old and new composition are both in memory. Nothing
    is cached. A switch that needs too much is made in several, through smaller selections; where no plan stays within
    the budget, a smaller selection is taken, or the current one stays. Counted are, by the manifest, the weights and
    activations of both compositions, and copies of the variant being loaded. If the current selection exceeds the
    budget already, the excess is kept as small as the switch allows. The first load may exceed a budget that even the
    smallest selection exceeds. Measure latencies, or call `Network.find_way`, before: finding the backend composes the
    teacher.

    Args:
        optimizer: of the network, whose latencies are measured if budgets bound time.
        source: of budgets.
        interval: seconds between two iterations; by default 0.5, not tuned, as are the other defaults.
        dwell, hysteresis, patience, tolerance, forget, strict: as above.
        on_event: called with every `Event` in the control loop's thread; its exceptions are logged.
        json_lines: a text stream to which every event is written as a line of JSON.
        clock: returns monotonic seconds.

    Raises `UsageError` for numbers out of range.
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
        on_event: Optional[EventHandler] = None,
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
        handlers: List[EventHandler] = [on_event] if on_event is not None else []
        if json_lines is not None:
            handlers.append(JsonLines(json_lines))
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
            journal=Journal(*handlers),
            rules=Rules(dwell, hysteresis, strict),
            clock=clock,
        )
        self._stepping = threading.Lock()

    def step(self) -> Optional[Event]:
        """One iteration: read the budget and make at most one decision, which is returned; None without one.

        Errors become events, not exceptions. Sources that need `Source.start` must have been started.
        """
        with self._stepping:
            return self._decider.step()
