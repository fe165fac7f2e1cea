"""`JointController`: keeps several networks within budgets that change, from a thread of its own."""

from __future__ import annotations

import math
import time
from typing import Callable, Optional, Sequence

from legodnn.runtime.controller.control_loop import Looking
from legodnn.runtime.controller.decider import WORTH
from legodnn.runtime.controller.sources.source import Source, Tightest
from legodnn.runtime.multi.decider import JointDecider, JointSink
from legodnn.runtime.multi.workload import Duty
from legodnn.shared.errors import UsageError

CAUTION = 1.35
"""Latencies were measured with nothing beside the network. What nineteen of twenty inferences of resnet18 and
mobilenet_v2 stayed within was 1.0 to 1.5 times as long beside each other, on a core each."""


class JointController(Looking):
    """Looks at what there is, again and again, and switches networks to the best selections for it.

    The rules are those of `Controller`, without strictness: what does not fit is replaced at the next look, what would
    be better after ``dwell`` seconds, if it has been for as long and leaves ``hysteresis`` of what it needs free. A
    budget's memory is for all networks together, what they keep for the way back included, its seconds bound an
    inference of each, its slowdown counts against deadlines and cores alike. Predictions are corrected so that nineteen
    of twenty inferences are within them: an inference that is late now and then misses its deadline. Until that is
    known, inferences are taken to take ``caution`` times longer than predicted, as far as that leaves anything.

    Args:
        duties: what each network has to do; the latencies must have been measured.
        source: of budgets.
        cores: the share of the cores' time that all inferences together may take.
        interval: seconds between two looks.
        dwell, hysteresis: as above; when time is short, the reserve is left too.
        worth: weighted accuracy, as a fraction, that must be gained for a switch which nothing forces.
        caution: as above; 1 or more, 1 for none.
        on_event: called in the thread that decides with the number of a duty, or None for all, and an `Event`.
        clock: monotonic seconds.

    Raises `UsageError` for a caution that cannot be.
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
        worth: float = WORTH,
        caution: float = CAUTION,
        on_event: Optional[JointSink] = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not (math.isfinite(caution) and caution >= 1):
            raise UsageError(f"caution is {caution}; give 1 or more")
        watched = Tightest(source)
        self._decider = JointDecider(
            duties, watched, cores, interval, dwell, hysteresis, worth, caution, on_event, clock
        )
        super().__init__(watched, interval, self._decider.stop, [duty.network for duty in duties])

    def step(self) -> bool:
        """One look and at most one decision; whether anything was switched. What fails is an event, no exception."""
        return self._decider.step()
