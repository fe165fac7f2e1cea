"""Selections for one network, and for several that share memory and cores."""

from __future__ import annotations

import functools
from typing import Any, Callable, Dict, List, Optional, Sequence

import torch

from legodnn.runtime.command.report import (
    Reporter,
    choice_text,
    choice_values,
    joint_text,
    joint_values,
    offers,
    offers_text,
)
from legodnn.runtime.command.request import Job, Request
from legodnn.runtime.controller import Budget, Controller, Event, Source
from legodnn.runtime.multi.choice import JointChoice
from legodnn.runtime.multi.controller import JointController
from legodnn.runtime.multi.optimizer import JointOptimizer
from legodnn.runtime.multi.workload import Duty
from legodnn.runtime.network import Network
from legodnn.runtime.optimizer import Choice, ScalingOptimizer
from legodnn.runtime.optimizer.figures import Figures
from legodnn.shared.errors import InfeasibleBudget
from legodnn.shared.host import cpu_cores
from legodnn.shared.units import format_bytes, format_seconds

Decided = Callable[[Optional[str], Event], object]
"""Called with a network's name and an event about it; None for the only network, or for all."""

SecondsLimit = Callable[[Budget], Optional[float]]
"""The most seconds of an inference under a budget; None for no limit."""


def present(network: Network) -> Choice:
    """All predictions about a network's current selection."""
    return Figures(network, count_activations=True).choice(network.selection, within_budget=True, power=None)


class Alone:
    """The budgets of one network; its latencies must have been measured."""

    def __init__(self, network: Network, request: Request) -> None:
        self.optimizer = ScalingOptimizer(network)
        self._network, self._request = network, request

    def choose(self, switch: bool) -> None:
        """Choose within the budgets, and optionally switch. Raises the errors of `ScalingOptimizer`."""
        choose = self.optimizer.update_model if switch else self.optimizer.choose
        choose(self._request.seconds, self._request.memory)

    def controller(self, source: Source, on_event: Decided) -> Controller:
        """A controller for changing budgets."""
        adaptation = self._request.adaptation
        strict = adaptation is not None and adaptation.strict
        return Controller(self.optimizer, source, strict=strict, on_event=lambda event: on_event(None, event))

    def seconds_limits(self) -> List[SecondsLimit]:
        """The limit on an inference under a budget."""
        return [lambda budget: budget.seconds]

    def report_offers(self, reporter: Reporter) -> None:
        """Report achievable selections, if there is no budget."""
        if (self._request.seconds, self._request.memory, self._request.adaptation) != (None, None, None):
            return
        choices = offers(self._network, self.optimizer)
        text = f"achievable on this device (--memory, --time):\n{offers_text(self._network, choices)}\n"
        reporter.say("offers", {"offers": [choice_values(self._network.manifest, c) for c in choices]}, text)

    def report(self, reporter: Reporter) -> None:
        """Report the current selection."""
        report_choice(reporter, self._network, present(self._network), None)


class Shared:
    """The budgets of several networks together; their latencies must have been measured."""

    def __init__(self, networks: Sequence[Network], request: Request) -> None:
        # With fewer threads than cores, a network leaves the other cores free while it runs.
        share = min(1.0, torch.get_num_threads() / cpu_cores())
        self.workloads = [_workload(network, job, share) for network, job in zip(networks, request.jobs)]
        self.optimizer = JointOptimizer(self.workloads)
        self._networks, self._request = networks, request

    def choose(self, switch: bool) -> None:
        """Choose within the budgets, and optionally switch. Raises the errors of `JointOptimizer`."""
        choose = self.optimizer.update_models if switch else self.optimizer.choose
        try:
            choose(self._request.memory, cores=self._request.cores)
        except InfeasibleBudget as refusal:
            raise self._explained(refusal) from None

    def controller(self, source: Source, on_event: Decided) -> JointController:
        """A controller for changing budgets."""

        def decided(number: Optional[int], event: Event) -> None:
            on_event(None if number is None else self._request.jobs[number].name, event)

        return JointController(self.workloads, source, cores=self._request.cores, on_event=decided)

    def seconds_limits(self) -> List[SecondsLimit]:
        """The limits on an inference of each network under a budget."""
        return [functools.partial(_tighter, float(workload.seconds)) for workload in self.workloads]

    def report_offers(self, reporter: Reporter) -> None:
        """Nothing: what is achievable for one network depends on the others."""

    def report(self, reporter: Reporter) -> None:
        """Report the current selections, and their sums."""
        choices = [present(network) for network in self._networks]
        for network, job, choice in zip(self._networks, self._request.jobs, choices):
            report_choice(reporter, network, choice, job.name)
        together = JointChoice(
            choices=tuple(choices),
            memory_bytes=sum(choice.memory_bytes for choice in choices),
            utilisation=sum(float(w.load) * (choice.seconds or 0) for w, choice in zip(self.workloads, choices)),
            within_budget=True,
        )
        reporter.say("together", joint_values(together), joint_text(together))

    def _explained(self, refusal: InfeasibleBudget) -> InfeasibleBudget:
        """The error with the least that every network needs, by its name."""
        request = self._request
        available = f"{request.cores:.0%} of the cores' time"
        if request.memory is not None:
            available = f"{format_bytes(request.memory)} and {available}"
        lines = [
            f"nothing fits {available} and all rates: the least achievable is "
            f"{format_bytes(refusal.minimum_bytes or 0)} or {refusal.minimum_utilisation or 0:.1%} of the cores' time, "
            "each taken alone"
        ]
        for workload, job in zip(self.workloads, request.jobs):
            lines.append(f"{job.name}: {_least(workload)}")
        return InfeasibleBudget(
            "\n".join(lines),
            minimum_bytes=refusal.minimum_bytes,
            minimum_utilisation=refusal.minimum_utilisation,
            closest_bytes=refusal.closest_bytes,
        )


def report_choice(reporter: Reporter, network: Network, choice: Choice, name: Optional[str]) -> None:
    """Report a choice, with the errors of latency predictions on this device."""
    values: Dict[str, Any] = choice_values(network.manifest, choice)
    if network.latency is not None:
        values["latency_error"] = {"median": network.latency.median_error, "worst": network.latency.worst_error}
    reporter.say("choice", values, choice_text(network, choice), name)


def _tighter(seconds: float, budget: Budget) -> float:
    return seconds if budget.seconds is None else min(seconds, budget.seconds)


def _workload(network: Network, job: Job, share: float) -> Duty:
    assert job.fps is not None, "options without rates are refused"
    return Duty(network, job.fps, job.deadline, job.weight, share)


def _least(workload: Duty) -> str:
    figures = Figures(workload.network, count_activations=True)
    seconds = float(figures.seconds(figures.fastest()))
    needs = f"needs {format_bytes(figures.bytes(figures.smallest()))}, and {format_seconds(seconds)} an inference"
    if seconds > workload.seconds:
        return f"{needs}, where it has {format_seconds(float(workload.seconds))}"
    share = seconds * float(workload.load)
    return f"{needs}: {share:.1%} of the cores' time at {workload.frames_per_second:g} a second"
