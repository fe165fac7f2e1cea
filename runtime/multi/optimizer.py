"""`JointOptimizer`: the best selections of several networks that share memory and cores."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from fractions import Fraction
from typing import Callable, Dict, List, Optional, Sequence

from legodnn.runtime.multi.choice import JointChoice
from legodnn.runtime.multi.columns import joint_answer
from legodnn.runtime.multi.workload import Duty
from legodnn.runtime.network import Network
from legodnn.runtime.optimizer.arguments import check_budget, check_objective, check_share
from legodnn.runtime.optimizer.figures import Figures, Selection, rounded_up
from legodnn.runtime.optimizer.frontier import Frontier
from legodnn.runtime.optimizer.power import Power
from legodnn.runtime.optimizer.problem import ACCURACY, MEMORY, TIME, Demand, Problem
from legodnn.runtime.switching.background import Background
from legodnn.runtime.switching.switcher import logger
from legodnn.shared.errors import InfeasibleBudget, UnusableVariant, UsageError
from legodnn.shared.units import format_bytes, format_seconds


class JointOptimizer:
    """Chooses selections for several networks together, by one integer program.

    Memory is the sum of the networks' bytes, activations included, since all may run at the same time. Utilisation is
    the share of all cores' time: the sum over networks of frames per second, times seconds per inference, times the
    share of the cores that the network occupies.

    The networks' frontiers are computed at construction (some hundredths of a second for ten blocks with five
    variants), and again after new measurements.

    Args:
        duties: the networks' workloads; every network once.
        count_activations: whether memory counts weights and peak activations, or weights alone.
        closest: return the nearest selections for budgets that cannot be met instead of raising.
        power: the device's power with all cores computing, and idle; required for energy.

    Raises `UsageError` for no workloads, or two of the same network.
    """

    def __init__(
        self,
        duties: Sequence[Duty],
        *,
        count_activations: bool = True,
        closest: bool = False,
        power: Optional[Power] = None,
    ) -> None:
        self.duties = tuple(duties)
        if not self.duties:
            raise UsageError("no workloads; give at least one network's Duty")
        if len({id(d.network) for d in self.duties}) < len(self.duties):
            raise UsageError("two workloads of one network, which runs one selection: add up their frames per second")
        self.count_activations = count_activations
        self.closest = closest
        self.power = power
        self.solves = 0
        self.switching: "Optional[Future[JointChoice]]" = None
        """The future of the last ``update_models(wait=False)``: the choice once it runs, or the error."""
        self._background = Background("legodnn-joint-switch")
        self._one_at_a_time = threading.Lock()
        self._frontiers: Dict[int, Frontier] = {}
        if all(d.network.latency is not None for d in self.duties):
            self._up_to_date(self._demands())

    def update_models(
        self,
        memory_bytes: Optional[float] = None,
        *,
        cores: float = 1.0,
        watts: Optional[float] = None,
        minimise: Optional[str] = None,
        wait: bool = True,
    ) -> JointChoice:
        """Choose as `choose` does, and switch every network to its choice while inferences run.

        Networks with the new composition in memory are switched first, then those that shrink, then the others, in
        parallel unless it is done in the background. If one cannot be switched, those before it are switched back and
        the error is raised: then all networks run as before. A variant that turns out not to work on this device is
        excluded, and the choice made again.

        Returns when all choices run; with ``wait=False`` at once, and ``switching`` is the future of the switch in the
        background. With ``memory_bytes``, each network's compositions, cached ones included, are bounded by its share
        of the budget, in proportion to the choice.
        """

        def choose() -> JointChoice:
            return self.choose(memory_bytes, cores=cores, watts=watts, minimise=minimise)

        choice = choose()
        if wait:
            return self.switch_to(choice, memory_bytes, choose)
        self.switch_later(choice, memory_bytes, choose)
        return choice

    def switch_to(
        self, choice: JointChoice, memory_bytes: Optional[float], again: Callable[[], JointChoice]
    ) -> JointChoice:
        """Switch as `update_models` does, to a choice of `choose`; returns the choice that runs.

        ``again`` is called for another choice where a variant turns out not to work on this device.
        """
        with self._one_at_a_time:
            while True:
                try:
                    self._switch(choice, memory_bytes)
                    return choice
                except UnusableVariant:
                    choice = again()

    def switch_later(
        self, choice: JointChoice, memory_bytes: Optional[float], again: Callable[[], JointChoice]
    ) -> "Future[JointChoice]":
        """The same in the background, in a thread of low priority; returns the future of the choice."""

        def switch() -> JointChoice:
            try:
                return self.switch_to(choice, memory_bytes, again)
            except Exception as error:
                logger.warning("a switch in the background failed: %s: %s", type(error).__name__, error)
                raise

        self.switching = self._background.submit(switch)
        return self.switching

    def choose(
        self,
        memory_bytes: Optional[float] = None,
        *,
        cores: float = 1.0,
        watts: Optional[float] = None,
        minimise: Optional[str] = None,
    ) -> JointChoice:
        """The selections within budgets with the largest weighted sum of accuracies, or the least of ``minimise``.

        Args:
            memory_bytes: the most of all networks together; None for no limit.
            cores: the largest utilisation, above 0 and at most 1.
            watts: the largest average power of the device; None for no limit.
            minimise: ``"time"`` (that is, utilisation), ``"memory"`` or ``"energy"``; every workload must then have a
                required accuracy.

        Raises `UsageError` for budgets that are not positive numbers and where latencies or power figures are missing,
        `InfeasibleBudget` where nothing fits, `SolverError` where no solver can be used.
        """
        problem = self._problem(memory_bytes, cores, watts, minimise)
        found = joint_answer(problem, self._up_to_date(problem.demands))
        self.solves += found.solves
        choice = self._choice(problem, found.selections, found.met)
        if found.met or self.closest:
            return choice
        raise self._infeasible(problem, choice)

    def sparing(
        self, choice: JointChoice, memory_bytes: Optional[float] = None, *, cores: float = 1.0, worth: float
    ) -> JointChoice:
        """A choice without the switches of networks that gain less than ``worth`` in weighted accuracy.

        Networks are considered from the smallest gain up, and keep their selection if the budgets are still met.
        """
        problem = self._problem(memory_bytes, cores, None, None)
        selections = [c.selection for c in choice.choices]
        before = [d.network.selection for d in self.duties]
        gains = []
        for i, (demand, old, new) in enumerate(zip(problem.demands, before, selections)):
            gains.append((demand.weight * (demand.figures.accuracy(new) - demand.figures.accuracy(old)), i))
        for gain, i in sorted(gains):
            kept = [*selections[:i], before[i], *selections[i + 1 :]]
            if gain < worth and problem.met(kept):
                selections = kept
        return self._choice(problem, selections, choice.within_budget)

    def minimum_bytes(self) -> int:
        """The least bytes that the networks need together."""
        demands = self._demands()
        return sum(d.figures.bytes(d.figures.smallest()) for d in demands)

    def minimum_utilisation(self) -> float:
        """The least utilisation of the networks together."""
        problem = Problem(self._demands())
        return rounded_up(problem.used([d.figures.fastest() for d in problem.demands]))

    # ---- parts ------------------------------------------------------------------------------------------------------
    def _problem(
        self, memory_bytes: Optional[float], cores: float, watts: Optional[float], minimise: Optional[str]
    ) -> Problem:
        """The problem of these arguments. Raises `UsageError` for invalid ones."""
        check_budget("memory", memory_bytes, "bytes")
        check_budget("power", watts, "watts")
        check_share("the share of cores", cores)
        check_objective(minimise)
        if minimise is not None and any(d.accuracy is None for d in self.duties):
            raise UsageError(f"the least {minimise} for which accuracy? give every Duty one")
        if self.power is None and (watts is not None or minimise == "energy"):
            raise UsageError("energy needs power figures: JointOptimizer(duties, power=Power(watts, idle watts))")
        limits = [Fraction(cores)]
        if watts is not None and self.power is not None:
            limits.append(self.power.utilisation(watts))
        return Problem(
            demands=self._demands(),
            memory_bytes=Fraction(memory_bytes) if memory_bytes is not None else None,
            utilisation=min(limits),
            objective={None: ACCURACY, "memory": MEMORY}.get(minimise, TIME),
        )

    def _demands(self) -> "tuple[Demand, ...]":
        demands = []
        for i, workload in enumerate(self.duties):
            figures = Figures(workload.network, self.count_activations)
            if not figures.measured:
                raise UsageError(
                    f"the network of workload {i} has no latencies: "
                    "call LatencyEstimator(network).profile_all_blocks() first"
                )
            demands.append(Demand(figures, workload.seconds, workload.accuracy, workload.weight, workload.load))
        return tuple(demands)

    def _up_to_date(self, demands: Sequence[Demand]) -> List[Frontier]:
        """The networks' frontiers within their own bounds, computed again where figures have changed."""
        for i, demand in enumerate(demands):
            known = self._frontiers.get(i)
            if known is None or not known.figures.same_as(demand.figures):
                self._frontiers[i] = Frontier(demand.figures, demand.seconds, demand.accuracy)
        return [self._frontiers[i] for i in range(len(demands))]

    def _choice(self, problem: Problem, selections: Sequence[Selection], met: bool) -> JointChoice:
        used = rounded_up(problem.used(selections))
        return JointChoice(
            choices=tuple(
                d.figures.choice(s, met or d.meets(s), self.power) for d, s in zip(problem.demands, selections)
            ),
            memory_bytes=problem.bytes(selections),
            utilisation=used,
            within_budget=met,
            watts=self.power.watts(used) if self.power is not None else None,
        )

    def _infeasible(self, problem: Problem, choice: JointChoice) -> InfeasibleBudget:
        least_bytes, least_utilisation = self.minimum_bytes(), self.minimum_utilisation()
        wanted = f"{float(problem.utilisation or 0):.3g} of the cores"
        if problem.memory_bytes is not None:
            wanted = f"{format_bytes(float(problem.memory_bytes))} and {wanted}"
        return InfeasibleBudget(
            f"no selections fit {wanted}: the least achievable is {format_bytes(least_bytes)} or "
            f"{least_utilisation:.3g} of the cores, each taken alone; the nearest selections need "
            f"{format_bytes(choice.memory_bytes)} and {choice.utilisation:.3g} of the cores"
            f"{self._out_of_reach(problem)}",
            minimum_bytes=least_bytes,
            minimum_utilisation=least_utilisation,
            closest_bytes=choice.memory_bytes,
        )

    def _out_of_reach(self, problem: Problem) -> str:
        """A text about the workloads whose own bounds no selection meets, each taken alone."""
        parts = []
        for i, demand in enumerate(problem.demands):
            figures = demand.figures
            seconds = figures.seconds(figures.fastest())
            if demand.seconds is not None and seconds > demand.seconds:
                limit = format_seconds(float(demand.seconds))
                parts.append(f"workload {i} needs {format_seconds(float(seconds))} where it has {limit}")
            accuracy = figures.accuracy(figures.least(lambda o: o.cost))
            if demand.accuracy is not None and accuracy < demand.accuracy:
                metric = figures.manifest.metric
                parts.append(f"workload {i} reaches {metric} {accuracy:.2%}, not {demand.accuracy:.2%}")
        return "".join(f"; {part}" for part in parts)

    def _switch(self, choice: JointChoice, memory_bytes: Optional[float]) -> None:
        """Switch every network, or none and raise the error."""
        networks = [d.network for d in self.duties]
        before = [n.selection for n in networks]
        wanted = [c.selection for c in choice.choices]
        sizes = [Figures(n, self.count_activations).bytes(old) for n, old in zip(networks, before)]
        ready = [i for i, network in enumerate(networks) if wanted[i] in network.loaded]
        others = [i for i in range(len(networks)) if i not in ready]
        shrinking = [i for i in others if choice.choices[i].memory_bytes <= sizes[i]]
        growing = [i for i in others if i not in shrinking]
        done: List[int] = []

        def switch(i: int) -> None:
            networks[i].select(wanted[i])
            done.append(i)

        try:
            for i in ready:
                switch(i)
            share_out(networks, [c.memory_bytes for c in choice.choices], memory_bytes)
            for group in (shrinking, growing):
                (one_by_one if self._background.is_current else side_by_side)(switch, group)
        except BaseException:
            for i in reversed(done):
                networks[i].select(before[i])
            raise


def share_out(networks: Sequence[Network], needed: Sequence[int], memory_bytes: Optional[float]) -> None:
    """Bound the networks' caches so that all together are within a budget, in proportion to ``needed`` bytes."""
    for network, size in zip(networks, needed):
        network.bound_kept(size / sum(needed) * memory_bytes if memory_bytes is not None else None)


def side_by_side(do: Callable[[int], None], numbers: Sequence[int]) -> None:
    """Call a function with every number, each in a thread of its own; raises the first error once all have ended."""
    with ThreadPoolExecutor(max(1, len(numbers)), "legodnn-joint-switch") as threads:
        done = [threads.submit(do, number) for number in numbers]
    for future in done:
        future.result()


def one_by_one(do: Callable[[int], None], numbers: Sequence[int]) -> None:
    """Call a function with every number in turn."""
    for number in numbers:
        do(number)
