"""`Decider`: looks at what there is and at what runs, and decides whether something else should."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Callable, Dict, List, Optional, Tuple

from legodnn.runtime.controller.budget import Budget, Limits
from legodnn.runtime.controller.chooser import Chooser
from legodnn.runtime.controller.drift import Drift
from legodnn.runtime.controller.events import (
    DRIFT,
    FAILED,
    INFEASIBLE,
    LOOSER,
    SOURCE,
    START,
    TIGHTER,
    UNREACHABLE,
    Event,
    Journal,
    Prediction,
    wall_time,
)
from legodnn.runtime.controller.mover import Mover
from legodnn.runtime.controller.pauses import Pauses
from legodnn.runtime.controller.sources.source import Source
from legodnn.runtime.controller.strict import Reachable, Strictness
from legodnn.runtime.device.latency_table import LatencyTable
from legodnn.runtime.network import Network
from legodnn.runtime.optimizer import Choice

WORTH = 1e-3
"""Accuracy that must be gained for a switch which nothing forces: a tenth of a percent."""

_Running = Tuple[Dict[str, str], Optional[LatencyTable]]
"""What runs, and what was known of latencies when something was found out about it."""


@dataclass(frozen=True)
class Rules:
    """When a controller acts; see `Controller`."""

    dwell: float
    hysteresis: float
    strict: bool


@dataclass(frozen=True)
class _View:
    """What one look sees: what there is, what runs, and how it does."""

    now: float
    budget: Budget
    limits: Limits
    current: Choice
    measured: Optional[float]
    drifted: bool

    @property
    def urgent(self) -> bool:
        """Whether what runs needs more than there is."""
        return not self.limits.met_by(self.current.seconds, self.current.memory_bytes)


class Decider:
    """One network's decisions, one look at a time; see `Controller` for the rules.

    ``clock`` gives monotonic seconds.
    """

    def __init__(
        self,
        network: Network,
        source: Source,
        chooser: Chooser,
        mover: Mover,
        drift: Drift,
        pauses: Pauses,
        journal: Journal,
        rules: Rules,
        clock: Callable[[], float],
    ) -> None:
        self._network, self._source, self._chooser, self._mover = network, source, chooser, mover
        self._drift, self._pauses, self._journal = drift, pauses, journal
        self._rules, self._clock = rules, clock
        self._strictness = Strictness(chooser, mover)
        self._trouble: Optional[str] = None
        self._switched_at: Optional[float] = None  # None until the first decision
        self._stuck: Optional[str] = None  # the reason why what runs exceeds the limits, once it has been said
        self._settled: Optional[Tuple[Limits, _Running]] = None  # for these limits this is what there is to run
        self._in_vain: Optional[Tuple[Limits, _Running]] = None  # within these limits nothing better was found

    def step(self) -> Optional[Event]:
        """One look: at most one decision, which is returned if it was worth an event."""
        view = self._look()
        reason = self._reason(view)
        if reason is None or self._pauses.forbid(view.now, view.urgent):
            return None
        try:
            return self._improve(view, reason) if reason == LOOSER else self._obey(view, reason)
        except Exception as error:
            pause = self._pauses.failed(view.now, view.urgent)
            return self._event(view, FAILED, f"{type(error).__name__}: {error}; tried again in {pause:g} s")

    # ---- looking ----------------------------------------------------------------------------------------------------
    def _look(self) -> _View:
        now, budget = self._clock(), self._source.read()
        if self._mover.keep_within(budget.memory_bytes):
            budget = self._source.read()  # what was let go of may be free now
        if self._drift.outdated(budget.slowdown):
            self._network.forget_recent()
        current, recent = self._chooser.describe(self._network.selection), self._network.recent_seconds()
        drifted = self._drift.look(now, recent, current.seconds, budget.slowdown)
        measured = statistics.median(recent) if recent else None
        view = _View(now, budget, budget.limits(self._drift.scale(budget.slowdown)), current, measured, drifted)
        self._report_trouble(view)
        return view

    def _report_trouble(self, view: _View) -> None:
        trouble = self._source.trouble
        if trouble is not None and trouble != self._trouble:
            self._event(view, SOURCE, trouble)
        self._trouble = trouble

    def _reason(self, view: _View) -> Optional[str]:
        """Why something should be decided now; None where nothing should."""
        if self._switched_at is None:
            return START
        if view.urgent:
            if self._settled == (view.limits, self._what_runs()):
                return None
            return DRIFT if view.drifted else TIGHTER
        self._stuck = None
        if not self._dwelt(view) or self._known_to_be_in_vain(view):
            return None
        return LOOSER

    def _dwelt(self, view: _View) -> bool:
        return self._switched_at is None or view.now - self._switched_at >= self._rules.dwell

    def _known_to_be_in_vain(self, view: _View) -> bool:
        if self._in_vain is None:
            return False
        limits, running = self._in_vain
        return running == self._what_runs() and self._reserved(view).within(limits)

    def _what_runs(self) -> _Running:
        return self._network.selection, self._network.latency

    def _reserved(self, view: _View) -> Limits:
        return view.limits.with_reserve(self._rules.hysteresis)

    # ---- deciding ---------------------------------------------------------------------------------------------------
    def _improve(self, view: _View, reason: str) -> Optional[Event]:
        """What runs is within the limits: look for something better that would be so with room to spare."""
        limits = self._reserved(view)
        choice = self._chooser.within(limits)
        found = self._reachable(view, choice, limits) if choice is not None else None
        if found is None or found[0].accuracy < view.current.accuracy + WORTH:
            self._in_vain = (limits, self._what_runs())
            return None
        return self._switch(view, reason, *found)

    def _obey(self, view: _View, reason: str) -> Optional[Event]:
        """What runs is not within the limits, or nothing has been decided yet: take what is, or comes nearest."""
        choice = self._chooser.nearest(view.limits)
        if not choice.within_budget:
            reason = INFEASIBLE
            if self._stuck == INFEASIBLE and not self._dwelt(view):
                return None  # one selection that does not fit is not much better than another
        if choice.selection == view.current.selection and self._switched_at is not None:
            return self._stay(view, choice, reason if reason == INFEASIBLE else None)
        found = self._reachable(view, choice, view.limits)
        if found is None:
            return self._stay(view, view.current, UNREACHABLE)
        return self._switch(view, reason, *found)

    def _reachable(self, view: _View, choice: Choice, limits: Limits) -> Optional[Reachable]:
        """The choice and how to get there, or the largest smaller one where strictness forbids the way there."""
        most = view.budget.memory_bytes
        if not self._rules.strict or most is None:
            return choice, [choice.selection]
        return self._strictness.reachable(view.current, choice, limits, most)

    def _stay(self, view: _View, choice: Choice, reason: Optional[str]) -> Optional[Event]:
        """Nothing can be done about these limits; the reason is said once."""
        self._settled = (view.limits, self._what_runs())
        self._switched_at = view.now if self._switched_at is None else self._switched_at
        if reason is None or self._stuck == reason:
            return None
        self._stuck = reason
        return self._event(view, reason, "", choice)

    def _switch(self, view: _View, reason: str, choice: Choice, steps: List[Dict[str, str]]) -> Event:
        self._mover.go(steps)
        self._pauses.succeeded()
        self._switched_at = self._clock()
        self._in_vain, self._settled, self._stuck = None, None, None
        if reason == INFEASIBLE:
            self._settled, self._stuck = (view.limits, self._what_runs()), INFEASIBLE
        if choice.selection != view.current.selection:
            self._drift.restart()
        detail = f"in {len(steps)} switches, to stay within the memory budget" if len(steps) > 1 else ""
        return self._event(view, reason, detail, choice)

    def _event(self, view: _View, reason: str, detail: str, choice: Optional[Choice] = None) -> Event:
        scale, prediction = self._drift.scale(view.budget.slowdown), None
        if choice is not None:
            seconds = choice.seconds * view.budget.slowdown * scale if choice.seconds is not None else None
            prediction = Prediction(seconds, choice.memory_bytes, choice.accuracy)
        return self._journal.write(Event(
            time=wall_time(), reason=reason, detail=detail, budget=view.budget, scale=scale,
            old=view.current.selection, new=self._network.selection, predicted=prediction, measured=view.measured,
        ))  # fmt: skip
