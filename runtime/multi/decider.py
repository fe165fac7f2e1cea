"""`JointDecider`: compares several networks' selections with the budget, and decides on switches."""

from __future__ import annotations

import functools
import math
import statistics
from collections import deque
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Callable, Deque, Dict, List, Optional, Sequence, Tuple

from legodnn.runtime.controller.budget import Budget
from legodnn.runtime.controller.drift import FEWEST_OF_MOST, Drift, most
from legodnn.runtime.controller.events import (
    DRIFT,
    FAILED,
    INFEASIBLE,
    LOOSER,
    SOURCE,
    START,
    TIGHTER,
    Event,
    EventHandler,
    Journal,
    Prediction,
    wall_time,
)
from legodnn.runtime.controller.pauses import Pauses
from legodnn.runtime.controller.sources.source import Source
from legodnn.runtime.multi.capacity import Capacity
from legodnn.runtime.multi.choice import JointChoice
from legodnn.runtime.multi.optimizer import JointOptimizer, share_out
from legodnn.runtime.multi.workload import Duty
from legodnn.runtime.optimizer.figures import Figures, Selection

JointEventHandler = Callable[[Optional[int], Event], object]
"""Called with the index of the workload that an event concerns, None for all, and the event."""

_STEPS = 20
"""Slowdowns are rounded up to multiples of 1 / 20, since each change costs a new frontier per network; not tuned."""

_ROUNDING = 1e-9
"""Above the rounding errors of floating-point factors, so that exact multiples are not rounded up."""

_RISE = 1.1
"""Ratio of consecutive slowdowns from which a slowdown counts as still rising; not tuned."""

_TOLERANCE, _FORGET = 0.1, 60.0
"""`Drift`'s relative tolerance, and its seconds without inferences; not tuned."""

_PATIENCE, _RELIEF = 2.0, 3.0
"""Seconds for which inferences must be slower or faster than expected before the correction changes, so that occasional
late ones do not change it; not tuned."""

_FEWEST_LOOKS = 3
"""Iterations for the same, at least; not tuned."""


@dataclass(frozen=True)
class _View:
    """The state in one iteration; ``measured`` are the medians of the last inferences in seconds."""

    now: float
    budget: Budget
    capacity: Capacity
    selections: List[Selection]
    measured: List[Optional[float]]
    drifted: bool
    urgent: bool
    rising: bool


class JointDecider:
    """The decisions of a `JointController`, one per iteration."""

    def __init__(
        self,
        workloads: Sequence[Duty],
        source: Source,
        cores: float,
        interval: float,
        dwell: float,
        hysteresis: float,
        worth: float,
        caution: float,
        on_event: Optional[JointEventHandler],
        clock: Callable[[], float],
    ) -> None:
        self._workloads, self._source, self._cores = tuple(workloads), source, cores
        self._dwell, self._hysteresis, self._worth, self._clock = dwell, hysteresis, worth, clock
        self._on_event = on_event
        self._networks = [workload.network for workload in self._workloads]
        patience, relief = (max(_FEWEST_LOOKS, math.ceil(seconds / interval)) for seconds in (_PATIENCE, _RELIEF))
        self._drifts = [
            Drift(_TOLERANCE, patience, _FORGET, most, FEWEST_OF_MOST, relief, caution) for _ in self._workloads
        ]
        self._pauses = Pauses(interval)
        self._optimizers: Dict[Tuple[Tuple[float, ...], Tuple[float, ...]], JointOptimizer] = {}
        self._source_error: Optional[str] = None
        self._switched_at: Optional[float] = None
        self._settled: Optional[Tuple[Capacity, List[Selection]]] = None  # nothing nearer to this capacity was found
        self._in_vain: Optional[Tuple[Capacity, List[Selection]]] = None  # nothing better in this capacity was found
        self._stuck = False
        self._slowdown = 1.0
        self._capacities: Deque[Tuple[float, Capacity]] = deque()  # with the reserve, in the last dwell seconds

    def step(self) -> bool:
        """One iteration; returns whether it switched."""
        view = self._look()
        reason = self._reason(view)
        if reason is None or self._pauses.forbid(view.now, view.urgent):
            return False
        try:
            return self._improve(view) if reason == LOOSER else self._obey(view, reason)
        except Exception as error:
            pause = self._pauses.failed(view.now, view.urgent)
            self._tell(None, view, FAILED, f"{type(error).__name__}: {error}; tried again in {pause:g} s")
            return False

    def stop(self) -> None:
        """Remove the bounds on the networks' caches."""
        share_out(self._networks, [0 for _ in self._networks], None)

    # ---- reading ----------------------------------------------------------------------------------------------------
    def _look(self) -> _View:
        now, budget = self._clock(), self._source.read()
        selections = [network.selection for network in self._networks]
        measured: List[Optional[float]] = []
        drifted = False
        for network, selection, drift in zip(self._networks, selections, self._drifts):
            if drift.outdated(budget.slowdown):
                network.forget_recent()
            recent, table = network.recent_seconds(), network.latency
            expected = table.predict(selection) if table is not None else None
            drifted = drift.look(now, recent, expected, budget.slowdown) or drifted
            measured.append(statistics.median(recent) if recent else None)
        capacity = self._capacity(budget)
        self._capacities.append((now, self._capacity(budget, self._hysteresis, self._hysteresis)))
        while now - self._capacities[0][0] > self._dwell:
            self._capacities.popleft()
        urgent = not self._fits(capacity, selections)
        if not urgent:  # else cached compositions may be needed now
            share_out(self._networks, self._sizes(selections), budget.memory_bytes)
        rising, self._slowdown = budget.slowdown > _RISE * self._slowdown, budget.slowdown
        view = _View(now, budget, capacity, selections, measured, drifted, urgent, rising)
        error = self._source.trouble
        if error is not None and error != self._source_error:
            self._tell(None, view, SOURCE, error)
        self._source_error = error
        return view

    def _sizes(self, selections: Sequence[Selection]) -> List[int]:
        """Bytes that each network needs."""
        return [Figures(n, count_activations=True).bytes(s) for n, s in zip(self._networks, selections)]

    def _capacity(
        self, budget: Budget, reserve: float = 0.0, memory_reserve: float = 0.0, cautious: bool = True
    ) -> Capacity:
        """The capacity of a budget: a slower device has higher rates and shorter deadlines in terms of predictions.

        The reserves are shares of the used time and memory that stay free.
        """
        slowdown = budget.slowdown
        factors = [
            math.ceil(slowdown * drift.scale(slowdown, cautious=cautious) * _STEPS - _ROUNDING) / _STEPS * (1 + reserve)
            for drift in self._drifts
        ]
        longest = math.inf if budget.seconds is None else budget.seconds
        return Capacity(
            budget.memory_bytes / (1 + memory_reserve) if budget.memory_bytes is not None else None,
            tuple(workload.frames_per_second * factor for workload, factor in zip(self._workloads, factors)),
            tuple(min(float(workload.seconds), longest) / factor for workload, factor in zip(self._workloads, factors)),
        )

    def _workloads_in(self, capacity: Capacity) -> List[Duty]:
        return [
            replace(workload, frames_per_second=rate, deadline=deadline)
            for workload, rate, deadline in zip(self._workloads, capacity.rates, capacity.deadlines)
        ]

    def _fits(self, capacity: Capacity, selections: Sequence[Selection]) -> bool:
        spent = Fraction(0)
        for workload, selection in zip(self._workloads_in(capacity), selections):
            seconds = Figures(workload.network, count_activations=True).seconds(selection)
            if seconds > workload.seconds:
                return False
            spent += seconds * workload.load
        return spent <= Fraction(self._cores) and self._enough_memory(capacity, selections)

    def _enough_memory(self, capacity: Capacity, selections: Sequence[Selection]) -> bool:
        return capacity.memory_bytes is None or sum(self._sizes(selections)) <= capacity.memory_bytes

    def _reason(self, view: _View) -> Optional[str]:
        """The reason for a decision now; None for no decision."""
        if self._switched_at is None:
            return START
        if view.urgent:
            if self._settled == (view.capacity, view.selections):
                return None
            if view.rising and self._enough_memory(view.capacity, view.selections):
                return None  # it may rise further, and two switches are worse than one
            return DRIFT if view.drifted else TIGHTER
        self._stuck = False
        return LOOSER if view.now - self._switched_at >= self._dwell else None

    # ---- deciding ---------------------------------------------------------------------------------------------------
    def _improve(self, view: _View) -> bool:
        """The current selections fit: switch to better ones that have fit for ``dwell`` seconds with the reserve."""
        capacities = [capacity for _, capacity in self._capacities]
        if capacities[0].slower_than(capacities[-1], _RISE):
            return False  # the device is still getting faster
        capacity = functools.reduce(Capacity.tightened, capacities)
        if self._in_vain is not None and self._in_vain[1] == view.selections and capacity.within(self._in_vain[0]):
            return False
        choice = self._choose(capacity)
        gain = sum(
            workload.weight * (new.accuracy - workload.network.manifest.predicted_accuracy(old))
            for workload, new, old in zip(self._workloads, choice.choices, view.selections)
        )
        if not choice.within_budget or gain < self._worth:
            self._in_vain = (capacity, view.selections)
            return False
        return self._switch(view, capacity, choice, LOOSER)

    def _obey(self, view: _View, reason: str) -> bool:
        """The current selections do not fit, or are the first: switch to ones that fit, or to the nearest."""
        # With a reserve first, as available time fluctuates; without the safety factor before giving up.
        capacities = [
            self._capacity(view.budget, self._hysteresis),
            view.capacity,
            self._capacity(view.budget, cautious=False),
        ]
        for capacity in dict.fromkeys(capacities):
            choice = self._choose(capacity)
            if choice.within_budget:
                break
        else:
            reason = INFEASIBLE
            if self._stuck and self._switched_at is not None and view.now - self._switched_at < self._dwell:
                return False  # switching between choices that do not fit gains little
        return self._switch(view, capacity, choice, reason)

    def _choose(self, capacity: Capacity) -> JointChoice:
        optimizer, worth = self._optimizer(capacity), self._worth / len(self._workloads)
        choice = optimizer.choose(capacity.memory_bytes, cores=self._cores)
        return optimizer.sparing(choice, capacity.memory_bytes, cores=self._cores, worth=worth)

    def _optimizer(self, capacity: Capacity) -> JointOptimizer:
        """The optimiser for these rates and deadlines; the last three are cached, as many as `_obey` uses."""
        key = (capacity.rates, capacity.deadlines)
        known = self._optimizers.pop(key) if key in self._optimizers else None
        self._optimizers[key] = known or JointOptimizer(self._workloads_in(capacity), closest=True)
        while len(self._optimizers) > 3:
            del self._optimizers[next(iter(self._optimizers))]
        return self._optimizers[key]

    def _switch(self, view: _View, capacity: Capacity, choice: JointChoice, reason: str) -> bool:
        gently = reason in (LOOSER, DRIFT)
        optimizer = self._optimizer(capacity)
        wanted = (choice, view.budget.memory_bytes, lambda: self._choose(capacity))
        choice = optimizer.switch_later(*wanted).result() if gently else optimizer.switch_to(*wanted)
        self._pauses.succeeded()
        now = [dict(c.selection) for c in choice.choices]
        first, switched = self._switched_at is None, now != view.selections
        concerns_all = first or (reason == INFEASIBLE and not self._stuck)
        if switched or first:
            self._switched_at = self._clock()
        self._stuck = reason == INFEASIBLE
        self._settled, self._in_vain = (view.capacity, now), None
        for i, (old, new) in enumerate(zip(view.selections, choice.choices)):
            if switched:  # a switch delays the inferences of all networks
                self._networks[i].forget_recent()
                self._drifts[i].restart()
            if old != new.selection or concerns_all:
                times = view.budget.slowdown * self._drifts[i].scale(view.budget.slowdown)
                seconds = new.seconds * times if new.seconds else None
                self._tell(i, view, reason, "", Prediction(seconds, new.memory_bytes, new.accuracy))
        return switched

    def _tell(
        self, number: Optional[int], view: _View, reason: str, detail: str, predicted: Optional[Prediction] = None
    ) -> None:
        """Emit an event about one network, or, for all of them, one without selections."""
        event = Event(
            time=wall_time(), reason=reason, detail=detail, budget=view.budget, scale=1.0, old={}, new={},
            predicted=predicted, measured=None,
        )  # fmt: skip
        if number is not None:
            event = replace(
                event,
                scale=self._drifts[number].scale(view.budget.slowdown),
                old=view.selections[number],
                new=self._networks[number].selection,
                measured=view.measured[number],
            )
        handlers: List[EventHandler] = []
        if self._on_event is not None:
            handlers.append(functools.partial(self._on_event, number))
        Journal(*handlers).write(event)
