"""`JointDecider`: looks at what there is for several networks, and decides whether they should run something else."""

from __future__ import annotations

import functools
import math
import statistics
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Callable, Dict, List, Optional, Sequence, Tuple

from legodnn.runtime.controller.budget import Budget
from legodnn.runtime.controller.decider import WORTH
from legodnn.runtime.controller.drift import Drift
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
from legodnn.runtime.controller.source import Source
from legodnn.runtime.optimizer import Duty, JointChoice, JointOptimizer
from legodnn.runtime.optimizer.figures import Figures, Selection

JointSink = Callable[[Optional[int], Event], object]
"""Called with the number of the duty an event is about, None for all of them, and the event."""

_STEPS = 20
"""Slowdowns are rounded up to multiples of 1 / 20: each change of one costs a frontier for every network."""

_HAIR = 1e-9

_TOLERANCE, _PATIENCE, _FORGET = 0.2, 3, 60.0


@dataclass(frozen=True)
class _Room:
    """What there is for the networks, in terms of what was measured: bytes; frames a second and deadline of each."""

    memory_bytes: Optional[float]
    rates: Tuple[float, ...]
    deadlines: Tuple[float, ...]

    def within(self, other: "_Room") -> bool:
        """Whether there is nowhere more than in the other room."""
        memory = other.memory_bytes is None or (
            self.memory_bytes is not None and self.memory_bytes <= other.memory_bytes
        )
        slower = all(mine >= its for mine, its in zip(self.rates, other.rates))
        return memory and slower and all(mine <= its for mine, its in zip(self.deadlines, other.deadlines))


@dataclass(frozen=True)
class _View:
    """What one look sees; ``measured`` are the medians of the last inferences."""

    now: float
    budget: Budget
    room: _Room
    selections: List[Selection]
    measured: List[Optional[float]]
    drifted: bool
    urgent: bool


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
        on_event: Optional[JointSink],
        clock: Callable[[], float],
    ) -> None:
        self._duties, self._source, self._cores = tuple(duties), source, cores
        self._dwell, self._hysteresis, self._clock = dwell, hysteresis, clock
        self._on_event = on_event
        self._networks = [duty.network for duty in self._duties]
        self._usual = [network.keep_within for network in self._networks]
        self._drifts = [Drift(_TOLERANCE, _PATIENCE, _FORGET) for _ in self._duties]
        self._pauses = Pauses(interval)
        self._optimizers: Dict[Tuple[Tuple[float, ...], Tuple[float, ...]], JointOptimizer] = {}
        self._trouble: Optional[str] = None
        self._switched_at: Optional[float] = None
        self._settled: Optional[Tuple[_Room, List[Selection]]] = None  # this is the nearest there is in this room
        self._in_vain: Optional[Tuple[_Room, List[Selection]]] = None  # nothing better was found in this room
        self._stuck = False

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
        for network, usual in zip(self._networks, self._usual):
            network.keep_within = usual

    # ---- looking ----------------------------------------------------------------------------------------------------
    def _look(self) -> _View:
        now, budget = self._clock(), self._source.read()
        self._keep_nothing_within(budget.memory_bytes)
        selections = [network.selection for network in self._networks]
        measured: List[Optional[float]] = []
        drifted = False
        for network, selection, drift in zip(self._networks, selections, self._drifts):
            recent, table = network.recent_seconds(), network.latency
            expected = table.predict(selection) * budget.slowdown if table is not None else None
            drifted = drift.look(now, recent, expected) or drifted
            measured.append(statistics.median(recent) if recent else None)
        room = self._room(budget)
        urgent = not self._fits(room, selections)
        view = _View(now, budget, room, selections, measured, drifted, urgent)
        trouble = self._source.trouble
        if trouble is not None and trouble != self._trouble:
            self._tell(None, view, SOURCE, trouble)
        self._trouble = trouble
        return view

    def _keep_nothing_within(self, memory_bytes: Optional[float]) -> None:
        for network, usual in zip(self._networks, self._usual):
            wanted = usual if memory_bytes is None else 0.0
            if network.keep_within != wanted:
                network.keep_within = wanted
                if memory_bytes is not None:
                    network.release_kept()

    def _room(self, budget: Budget, reserve: float = 0.0) -> _Room:
        """A device that is slower has more frames a second to do in less time each, as far as predictions go."""
        factors = [
            math.ceil(budget.slowdown * drift.scale * _STEPS - _HAIR) / _STEPS * (1 + reserve) for drift in self._drifts
        ]
        longest = math.inf if budget.seconds is None else budget.seconds
        return _Room(
            budget.memory_bytes / (1 + reserve) if budget.memory_bytes is not None else None,
            tuple(duty.frames_per_second * factor for duty, factor in zip(self._duties, factors)),
            tuple(min(float(duty.seconds), longest) / factor for duty, factor in zip(self._duties, factors)),
        )

    def _duties_in(self, room: _Room) -> List[Duty]:
        return [
            replace(duty, frames_per_second=rate, deadline=deadline)
            for duty, rate, deadline in zip(self._duties, room.rates, room.deadlines)
        ]

    def _fits(self, room: _Room, selections: Sequence[Selection]) -> bool:
        used, spent = 0, Fraction(0)
        for duty, selection in zip(self._duties_in(room), selections):
            figures = Figures(duty.network, count_activations=True)
            seconds = figures.seconds(selection)
            if seconds > duty.seconds:
                return False
            used, spent = used + figures.bytes(selection), spent + seconds * duty.load
        return spent <= Fraction(self._cores) and (room.memory_bytes is None or used <= room.memory_bytes)

    def _reason(self, view: _View) -> Optional[str]:
        """Why something should be decided now; None where nothing should."""
        if self._switched_at is None:
            return START
        if view.urgent:
            if self._settled == (view.room, view.selections):
                return None
            return DRIFT if view.drifted else TIGHTER
        self._stuck = False
        return LOOSER if view.now - self._switched_at >= self._dwell else None

    # ---- deciding ---------------------------------------------------------------------------------------------------
    def _improve(self, view: _View) -> bool:
        """What runs fits: look for something better that would do so with room to spare."""
        room = self._room(view.budget, self._hysteresis)
        if self._in_vain is not None and self._in_vain[1] == view.selections and room.within(self._in_vain[0]):
            return False
        choice = self._choose(room)
        gain = sum(
            duty.weight * (new.accuracy - duty.network.manifest.predicted_accuracy(old))
            for duty, new, old in zip(self._duties, choice.choices, view.selections)
        )
        if not choice.within_budget or gain < WORTH:
            self._in_vain = (room, view.selections)
            return False
        return self._switch(view, room, LOOSER)

    def _obey(self, view: _View, reason: str) -> bool:
        """What runs does not fit, or nothing has been decided yet: take what does, or comes nearest."""
        choice = self._choose(view.room)
        if not choice.within_budget:
            reason = INFEASIBLE
            if self._stuck and self._switched_at is not None and view.now - self._switched_at < self._dwell:
                return False  # one choice that does not fit is not much better than another
        return self._switch(view, view.room, reason)

    def _choose(self, room: _Room) -> JointChoice:
        return self._optimizer(room).choose(room.memory_bytes, cores=self._cores)

    def _optimizer(self, room: _Room) -> JointOptimizer:
        """The one for these rates and deadlines; the two used last are kept, with reserve and without."""
        key = (room.rates, room.deadlines)
        known = self._optimizers.pop(key) if key in self._optimizers else None
        self._optimizers[key] = known or JointOptimizer(self._duties_in(room), closest=True)
        while len(self._optimizers) > 2:
            del self._optimizers[next(iter(self._optimizers))]
        return self._optimizers[key]

    def _switch(self, view: _View, room: _Room, reason: str) -> bool:
        choice = self._optimizer(room).update_models(room.memory_bytes, cores=self._cores)
        self._pauses.succeeded()
        now = [dict(c.selection) for c in choice.choices]
        first, switched = self._switched_at is None, now != view.selections
        concerns_all = first or (reason == INFEASIBLE and not self._stuck)
        if switched or first:
            self._switched_at = self._clock()
        self._stuck = reason == INFEASIBLE
        self._settled, self._in_vain = (view.room, now), None
        for i, (old, new) in enumerate(zip(view.selections, choice.choices)):
            if old != new.selection:
                self._drifts[i].restart()
            if old != new.selection or concerns_all:
                seconds = new.seconds * view.budget.slowdown * self._drifts[i].scale if new.seconds else None
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
                scale=self._drifts[number].scale,
                old=view.selections[number],
                new=self._networks[number].selection,
                measured=view.measured[number],
            )
        sinks: List[Sink] = []
        if self._on_event is not None:
            sinks.append(functools.partial(self._on_event, number))
        Journal(*sinks).write(event)
