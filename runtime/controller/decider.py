"""`Decider`: compares the current selection with the budget, and decides on switches."""

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
"""The minimum gain in accuracy, as a fraction, for a switch that no budget forces: 0.1 points; not tuned."""

_Running = Tuple[Dict[str, str], Optional[LatencyTable]]
"""A selection, and the latency table at the time: conclusions about it hold while both stay the same."""


@dataclass(frozen=True)
class Rules:
    """The parameters of decisions; see `Controller`."""

    dwell: float
    hysteresis: float
    strict: bool


@dataclass(frozen=True)
class _View:
    """The state in one iteration: the budget, the current selection, and its measured median in seconds."""

    now: float
    budget: Budget
    limits: Limits
    current: Choice
    measured: Optional[float]
    drifted: bool

    @property
    def urgent(self) -> bool:
        """Whether the current selection exceeds the limits."""
        return not self.limits.met_by(self.current.seconds, self.current.memory_bytes)


class Decider:
    """One network's decisions, one per iteration; see `Controller` for the rules.

    ``clock`` returns monotonic seconds.
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
        self._source_error: Optional[str] = None
        self._switched_at: Optional[float] = None  # None until the first decision
        self._stuck: Optional[str] = None  # why the limits are exceeded, once reported
        self._settled: Optional[Tuple[Limits, _Running]] = None  # nothing nearer to these limits was found
        self._in_vain: Optional[Tuple[Limits, _Running]] = None  # nothing more accurate within these limits was found

    def step(self) -> Optional[Event]:
        """One iteration: at most one decision; returns its event, if it has one."""
        view = self._look()
        reason = self._reason(view)
        if reason is None or self._pauses.forbid(view.now, view.urgent):
            return None
        try:
            return self._improve(view, reason) if reason == LOOSER else self._obey(view, reason)
        except Exception as error:
            pause = self._pauses.failed(view.now, view.urgent)
            return self._event(view, FAILED, f"{type(error).__name__}: {error}; tried again in {pause:g} s")

    # ---- reading ----------------------------------------------------------------------------------------------------
    def _look(self) -> _View:
        now, budget = self._clock(), self._source.read()
        if self._mover.keep_within(budget.memory_bytes):
            budget = self._source.read()  # evicted compositions may have freed memory
        if self._drift.outdated(budget.slowdown):
            self._network.forget_recent()
        current, recent = self._chooser.describe(self._network.selection), self._network.recent_seconds()
        drifted = self._drift.look(now, recent, current.seconds, budget.slowdown)
        measured = statistics.median(recent) if recent else None
        view = _View(now, budget, budget.limits(self._drift.scale(budget.slowdown)), current, measured, drifted)
        self._report_source_error(view)
        return view

    def _report_source_error(self, view: _View) -> None:
        error = self._source.trouble
        if error is not None and error != self._source_error:
            self._event(view, SOURCE, error)
        self._source_error = error

    def _reason(self, view: _View) -> Optional[str]:
        """The reason for a decision now; None for no decision."""
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
        """The current selection fits: switch to a more accurate one that fits with the reserve."""
        limits = self._reserved(view)
        choice = self._chooser.within(limits)
        found = self._reachable(view, choice, limits) if choice is not None else None
        if found is None or found[0].accuracy < view.current.accuracy + WORTH:
            self._in_vain = (limits, self._what_runs())
            return None
        return self._switch(view, reason, *found)

    def _obey(self, view: _View, reason: str) -> Optional[Event]:
        """The current selection exceeds the limits, or is the first: switch to one that fits, or to the nearest."""
        choice = self._chooser.nearest(view.limits)
        if not choice.within_budget:
            reason = INFEASIBLE
            if self._stuck == INFEASIBLE and not self._dwelt(view):
                return None  # switching between selections that do not fit gains little
        if choice.selection == view.current.selection and self._switched_at is not None:
            return self._stay(view, choice, reason if reason == INFEASIBLE else None)
        found = self._reachable(view, choice, view.limits)
        if found is None:
            return self._stay(view, view.current, UNREACHABLE)
        return self._switch(view, reason, *found)

    def _reachable(self, view: _View, choice: Choice, limits: Limits) -> Optional[Reachable]:
        """The choice and the switches to it, or the largest smaller one that ``strict`` allows; None for none."""
        most = view.budget.memory_bytes
        if not self._rules.strict or most is None:
            return choice, [choice.selection]
        return self._strictness.reachable(view.current, choice, limits, most)

    def _stay(self, view: _View, choice: Choice, reason: Optional[str]) -> Optional[Event]:
        """Keep the current selection; report the reason once."""
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
