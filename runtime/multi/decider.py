"""`JointDecider`: looks at what there is for several networks, and decides whether they should run something else."""

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
    Journal,
    Prediction,
    Sink,
    wall_time,
)
from legodnn.runtime.controller.pauses import Pauses
from legodnn.runtime.controller.sources.source import Source
from legodnn.runtime.multi.capacity import Room
from legodnn.runtime.multi.choice import JointChoice
from legodnn.runtime.multi.optimizer import JointOptimizer, share_out
from legodnn.runtime.multi.workload import Duty
from legodnn.runtime.optimizer.figures import Figures, Selection

JointSink = Callable[[Optional[int], Event], object]
"""Called with the number of the duty an event is about, None for all of them, and the event."""

_STEPS = 20
"""Slowdowns are rounded up to multiples of 1 / 20: each change of one costs a frontier for every network."""

_HAIR = 1e-9

_RISE = 1.1
"""How many times its last value a slowdown is that has not come to its end."""

_TOLERANCE, _FORGET = 0.1, 60.0

_PATIENCE, _RELIEF = 2.0, 3.0
"""Seconds for which inferences must be slower or faster than thought before that is believed: what is late now and then
is not late all the time."""

_FEWEST_LOOKS = 3


@dataclass(frozen=True)
class _View:
    """What one look sees; ``measured`` are the medians of the last inferences."""

    now: float
    budget: Budget
    room: Room
    selections: List[Selection]
    measured: List[Optional[float]]
    drifted: bool
    urgent: bool
    rising: bool


class JointDecider:
    """The decisions of a `JointController`, one look at a time."""

    def __init__(
        self,
        duties: Sequence[Duty],
        source: Source,
        cores: float,
        interval: float,
        dwell: float,
        hysteresis: float,
        worth: float,
        caution: float,
        on_event: Optional[JointSink],
        clock: Callable[[], float],
    ) -> None:
        self._duties, self._source, self._cores = tuple(duties), source, cores
        self._dwell, self._hysteresis, self._worth, self._clock = dwell, hysteresis, worth, clock
        self._on_event = on_event
        self._networks = [duty.network for duty in self._duties]
        patience, relief = (max(_FEWEST_LOOKS, math.ceil(seconds / interval)) for seconds in (_PATIENCE, _RELIEF))
        self._drifts = [
            Drift(_TOLERANCE, patience, _FORGET, most, FEWEST_OF_MOST, relief, caution) for _ in self._duties
        ]
        self._pauses = Pauses(interval)
        self._optimizers: Dict[Tuple[Tuple[float, ...], Tuple[float, ...]], JointOptimizer] = {}
        self._trouble: Optional[str] = None
        self._switched_at: Optional[float] = None
        self._settled: Optional[Tuple[Room, List[Selection]]] = None  # this is the nearest there is in this room
        self._in_vain: Optional[Tuple[Room, List[Selection]]] = None  # nothing better was found in this room
        self._stuck = False
        self._slowdown = 1.0
        self._rooms: Deque[Tuple[float, Room]] = deque()  # what there was to spare, in the last seconds

    def step(self) -> bool:
        """One look; whether anything was switched."""
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
        """Let the networks keep what they kept before."""
        share_out(self._networks, [0 for _ in self._networks], None)

    # ---- looking ----------------------------------------------------------------------------------------------------
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
        room = self._room(budget)
        self._rooms.append((now, self._room(budget, self._hysteresis, self._hysteresis)))
        while now - self._rooms[0][0] > self._dwell:
            self._rooms.popleft()
        urgent = not self._fits(room, selections)
        if not urgent:  # else what is kept may be what is needed now
            share_out(self._networks, self._sizes(selections), budget.memory_bytes)
        rising, self._slowdown = budget.slowdown > _RISE * self._slowdown, budget.slowdown
        view = _View(now, budget, room, selections, measured, drifted, urgent, rising)
        trouble = self._source.trouble
        if trouble is not None and trouble != self._trouble:
            self._tell(None, view, SOURCE, trouble)
        self._trouble = trouble
        return view

    def _sizes(self, selections: Sequence[Selection]) -> List[int]:
        """Bytes that each network needs."""
        return [Figures(n, count_activations=True).bytes(s) for n, s in zip(self._networks, selections)]

    def _room(self, budget: Budget, reserve: float = 0.0, memory_reserve: float = 0.0, cautious: bool = True) -> Room:
        """A device that is slower has more frames a second to do in less time each, as far as predictions go.

        The reserves are shares of what is used, of time and memory, that are to be left free.
        """
        slowdown = budget.slowdown
        factors = [
            math.ceil(slowdown * drift.scale(slowdown, cautious=cautious) * _STEPS - _HAIR) / _STEPS * (1 + reserve)
            for drift in self._drifts
        ]
        longest = math.inf if budget.seconds is None else budget.seconds
        return Room(
            budget.memory_bytes / (1 + memory_reserve) if budget.memory_bytes is not None else None,
            tuple(duty.frames_per_second * factor for duty, factor in zip(self._duties, factors)),
            tuple(min(float(duty.seconds), longest) / factor for duty, factor in zip(self._duties, factors)),
        )

    def _duties_in(self, room: Room) -> List[Duty]:
        return [
            replace(duty, frames_per_second=rate, deadline=deadline)
            for duty, rate, deadline in zip(self._duties, room.rates, room.deadlines)
        ]

    def _fits(self, room: Room, selections: Sequence[Selection]) -> bool:
        spent = Fraction(0)
        for duty, selection in zip(self._duties_in(room), selections):
            seconds = Figures(duty.network, count_activations=True).seconds(selection)
            if seconds > duty.seconds:
                return False
            spent += seconds * duty.load
        return spent <= Fraction(self._cores) and self._enough_memory(room, selections)

    def _enough_memory(self, room: Room, selections: Sequence[Selection]) -> bool:
        return room.memory_bytes is None or sum(self._sizes(selections)) <= room.memory_bytes

    def _reason(self, view: _View) -> Optional[str]:
        """Why something should be decided now; None where nothing should."""
        if self._switched_at is None:
            return START
        if view.urgent:
            if self._settled == (view.room, view.selections):
                return None
            if view.rising and self._enough_memory(view.room, view.selections):
                return None  # at the next look it may be worse, and two switches are worse than one
            return DRIFT if view.drifted else TIGHTER
        self._stuck = False
        return LOOSER if view.now - self._switched_at >= self._dwell else None

    # ---- deciding ---------------------------------------------------------------------------------------------------
    def _improve(self, view: _View) -> bool:
        """What runs fits: look for something better that would have done so for some time, with room to spare."""
        rooms = [room for _, room in self._rooms]
        if rooms[0].slower_than(rooms[-1], _RISE):
            return False  # a device that becomes faster is not there yet
        room = functools.reduce(Room.tightened, rooms)
        if self._in_vain is not None and self._in_vain[1] == view.selections and room.within(self._in_vain[0]):
            return False
        choice = self._choose(room)
        gain = sum(
            duty.weight * (new.accuracy - duty.network.manifest.predicted_accuracy(old))
            for duty, new, old in zip(self._duties, choice.choices, view.selections)
        )
        if not choice.within_budget or gain < self._worth:
            self._in_vain = (room, view.selections)
            return False
        return self._switch(view, room, choice, LOOSER)

    def _obey(self, view: _View, reason: str) -> bool:
        """What runs does not fit, or nothing has been decided yet: take what does, or comes nearest."""
        # What there is of time changes a little all the time; and what only caution forbids is better than nothing.
        rooms = [self._room(view.budget, self._hysteresis), view.room, self._room(view.budget, cautious=False)]
        for room in dict.fromkeys(rooms):
            choice = self._choose(room)
            if choice.within_budget:
                break
        else:
            reason = INFEASIBLE
            if self._stuck and self._switched_at is not None and view.now - self._switched_at < self._dwell:
                return False  # one choice that does not fit is not much better than another
        return self._switch(view, room, choice, reason)

    def _choose(self, room: Room) -> JointChoice:
        optimizer, worth = self._optimizer(room), self._worth / len(self._duties)
        choice = optimizer.choose(room.memory_bytes, cores=self._cores)
        return optimizer.sparing(choice, room.memory_bytes, cores=self._cores, worth=worth)

    def _optimizer(self, room: Room) -> JointOptimizer:
        """The one for these rates and deadlines; those used last are kept, as many as `_obey` may ask for."""
        key = (room.rates, room.deadlines)
        known = self._optimizers.pop(key) if key in self._optimizers else None
        self._optimizers[key] = known or JointOptimizer(self._duties_in(room), closest=True)
        while len(self._optimizers) > 3:
            del self._optimizers[next(iter(self._optimizers))]
        return self._optimizers[key]

    def _switch(self, view: _View, room: Room, choice: JointChoice, reason: str) -> bool:
        gently = reason in (LOOSER, DRIFT)
        optimizer, wanted = self._optimizer(room), (choice, view.budget.memory_bytes, lambda: self._choose(room))
        choice = optimizer.switch_later(*wanted).result() if gently else optimizer.switch_to(*wanted)
        self._pauses.succeeded()
        now = [dict(c.selection) for c in choice.choices]
        first, switched = self._switched_at is None, now != view.selections
        concerns_all = first or (reason == INFEASIBLE and not self._stuck)
        if switched or first:
            self._switched_at = self._clock()
        self._stuck = reason == INFEASIBLE
        self._settled, self._in_vain = (view.room, now), None
        for i, (old, new) in enumerate(zip(view.selections, choice.choices)):
            if switched:  # others' inferences are late meanwhile, too
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
        """An event about one network, or, where it is about all, one without selections."""
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
        sinks: List[Sink] = []
        if self._on_event is not None:
            sinks.append(functools.partial(self._on_event, number))
        Journal(*sinks).write(event)
