"""`JointController`: keeps several networks within changing budgets, from a thread of its own."""

from __future__ import annotations

import math
import time
from typing import Callable, Optional, Sequence

from legodnn.runtime.controller.control_loop import ControlLoop
from legodnn.runtime.controller.decider import WORTH
from legodnn.runtime.controller.sources.source import Source, Tightest
from legodnn.runtime.multi.decider import JointDecider, JointEventHandler
from legodnn.runtime.multi.workload import Duty
from legodnn.shared.errors import UsageError

CAUTION = 1.35
"""The default safety factor: latencies are measured with the network alone. The 95th percentile of resnet18 and
mobilenet_v2, on a core each, was 1.0 to 1.5 times as long beside each other."""


class JointController(ControlLoop):
    """Reads a budget periodically and switches networks to the best selections within it.

    The rules are those of `Controller`, without ``strict``: selections that do not fit are replaced in the next
    iteration; better ones are taken after ``dwell`` seconds, if they would have fit all that time and leave
    ``hysteresis`` of their needs free. A budget's memory is for all networks together, cached compositions included;
    its seconds bound an inference of each network; its slowdown applies to deadlines and cores. Predictions are
    corrected to the 95th percentile of inferences, since deadlines are missed by the slowest. Before that is measured,
    predictions are multiplied by ``caution``, where some selections then fit.

    Args:
        duties: the networks' workloads; latencies must have been measured.
        source: of budgets.
        cores: the share of the cores' time for all inferences together.
        interval: seconds between two iterations; by default 0.5, not tuned, as are dwell and hysteresis.
        dwell, hysteresis: as above; the hysteresis on time is also kept where a switch is forced.
        worth: the minimum gain in weighted accuracy, as a fraction, for a switch that no budget forces.
        caution: the safety factor, as above; 1 or more, 1 for none.
        on_event: called in the control loop's thread with a workload's index, or None for all, and an `Event`.
        clock: returns monotonic seconds.

    Raises `UsageError` for a caution out of range.
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
        on_event: Optional[JointEventHandler] = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not (math.isfinite(caution) and caution >= 1):
            raise UsageError(f"caution is {caution}; give 1 or more")
        watched = Tightest(source)
        self._decider = JointDecider(
            duties, watched, cores, interval, dwell, hysteresis, worth, caution, on_event, clock
        )
        super().__init__(watched, interval, self._decider.stop, [workload.network for workload in duties])

    def step(self) -> bool:
        """One iteration; returns whether it switched. Errors become events, not exceptions."""
        return self._decider.step()
