"""`ScalingOptimizer`: the best selection of one network within budgets.

The solver is imported at the first search, so that the first inference is sooner.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, List, Optional

from legodnn.runtime.network import Network
from legodnn.runtime.optimizer.arguments import check_budget, check_objective, check_share
from legodnn.runtime.optimizer.choice import Choice
from legodnn.runtime.optimizer.figures import Figures, rounded_up
from legodnn.runtime.optimizer.power import Power
from legodnn.shared.errors import InfeasibleBudget, UnusableVariant, UsageError
from legodnn.shared.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from legodnn.runtime.optimizer.problem import Problem


@dataclass(frozen=True)
class _Wish:
    """The arguments of `ScalingOptimizer.choose`, checked."""

    seconds: Optional[float]
    memory_bytes: Optional[float]
    joules: Optional[float]
    accuracy: Optional[float]
    minimise: Optional[str]

    def __post_init__(self) -> None:
        check_budget("time", self.seconds, "seconds")
        check_budget("memory", self.memory_bytes, "bytes")
        check_budget("energy", self.joules, "joules")
        check_objective(self.minimise)
        if self.accuracy is not None:
            check_share("the required accuracy", self.accuracy)
        elif self.minimise is not None:
            raise UsageError(f"the least {self.minimise} for which accuracy? give accuracy=0.9, for example")

    @property
    def powered(self) -> bool:
        """Whether power figures are needed."""
        return self.joules is not None or self.minimise == "energy"

    @property
    def timed(self) -> bool:
        """Whether latencies are needed."""
        return self.powered or self.seconds is not None or self.minimise == "time"


class ScalingOptimizer:
    """Chooses selections for a network.

    Args:
        network: the network; budgets of time or energy need its `LatencyEstimator` table.
        count_activations: whether memory counts weights and peak activations, or weights alone.
        closest: return the nearest selection for a budget that cannot be met instead of raising.
        power: the device's power; required for energy.
    """

    def __init__(
        self,
        network: Network,
        *,
        count_activations: bool = True,
        closest: bool = False,
        power: Optional[Power] = None,
    ) -> None:
        self.network = network
        self.count_activations = count_activations
        self.closest = closest
        self.power = power
        self.solves = 0

    def update_model(
        self,
        seconds: Optional[float] = None,
        memory_bytes: Optional[float] = None,
        *,
        joules: Optional[float] = None,
        accuracy: Optional[float] = None,
        minimise: Optional[str] = None,
        wait: bool = True,
    ) -> Choice:
        """Choose as `choose` does, and switch the network to the choice while inferences run.

        Returns when the choice runs; with ``wait=False`` at once, and the switch is made in the background:
        ``network.switching.result()`` then waits for it and raises its error, which is also logged. In the background
        each changed block takes up to a second, since the switch yields to inference. A variant that turns out not to
        work on this device is excluded, and the choice made again. After any error the network runs as before. With
        ``memory_bytes``, the current and the cached compositions together are bounded by it.
        """

        def choose() -> Choice:
            return self.choose(seconds, memory_bytes, joules=joules, accuracy=accuracy, minimise=minimise)

        choice = choose()
        self.network.bound_kept(memory_bytes)
        if not wait:
            self.network.select_later(choice.selection, lambda: choose().selection)
            return choice
        while True:
            try:
                self.network.select(choice.selection)
                return choice
            except UnusableVariant:
                choice = choose()  # without that variant

    def choose(
        self,
        seconds: Optional[float] = None,
        memory_bytes: Optional[float] = None,
        *,
        joules: Optional[float] = None,
        accuracy: Optional[float] = None,
        minimise: Optional[str] = None,
    ) -> Choice:
        """The most accurate selection within budgets, or the one with the least of ``minimise`` for a required
        accuracy.

        Args:
            seconds: the most per inference; None for no limit, here and below.
            memory_bytes: the most bytes of weights and peak activations.
            joules: the most per inference beyond idling.
            accuracy: the least predicted accuracy, as a fraction.
            minimise: ``"time"``, ``"memory"`` or ``"energy"``; the accuracy must then be given.

        Raises `UsageError` for budgets that are not positive numbers, and for time or energy where latencies or power
        figures are missing, `InfeasibleBudget` where nothing fits, `SolverError` where no solver can be used.
        """
        wish = _Wish(seconds, memory_bytes, joules, accuracy, minimise)
        if wish.powered and self.power is None:
            raise UsageError("energy needs power figures: ScalingOptimizer(network, power=Power(watts, idle watts))")
        if wish.timed and self.network.latency is None:
            budget = "an energy" if wish.powered else "a time"
            raise UsageError(
                f"{budget} budget needs latencies: call LatencyEstimator(network).profile_all_blocks() first"
            )
        from legodnn.runtime.optimizer.answer import answer

        figures = Figures(self.network, self.count_activations)
        found = answer(self._problem(figures, wish))
        self.solves += found.solves
        choice = figures.choice(found.selections[0], found.met, self.power)
        if found.met or self.closest:
            return choice
        raise self._infeasible(figures, wish, choice)

    def _problem(self, figures: Figures, wish: _Wish) -> Problem:
        from legodnn.runtime.optimizer.problem import ACCURACY, MEMORY, TIME, Demand, Problem

        limits = [Fraction(wish.seconds)] if wish.seconds is not None else []
        if wish.joules is not None and self.power is not None:
            limits.append(self.power.seconds(wish.joules))
        return Problem(
            demands=(Demand(figures, seconds=min(limits) if limits else None, accuracy=wish.accuracy),),
            memory_bytes=Fraction(wish.memory_bytes) if wish.memory_bytes is not None else None,
            # Energy depends on time alone.
            objective={None: ACCURACY, "memory": MEMORY}.get(wish.minimise, TIME),
        )

    # ---- achievable -------------------------------------------------------------------------------------------------
    def minimum_seconds(self) -> Optional[float]:
        """The least seconds of any selection; None where latencies have not been measured."""
        figures = Figures(self.network, self.count_activations)
        return rounded_up(figures.seconds(figures.fastest())) if figures.measured else None

    def minimum_bytes(self) -> int:
        """The least bytes of any selection."""
        figures = Figures(self.network, self.count_activations)
        return figures.bytes(figures.smallest())

    def frontier(self) -> List[Choice]:
        """The Pareto front over time, memory and accuracy: all non-dominated selections.

        Exact, with each combination of the three once; sorted by time and then memory, or by memory alone where
        latencies have not been measured. Ten blocks with five variants take a tenth of a second on a PC, twenty a few
        seconds.
        """
        from legodnn.runtime.optimizer.frontier import Frontier

        return Frontier(Figures(self.network, self.count_activations)).choices(self.power)

    def _infeasible(self, figures: Figures, wish: _Wish, choice: Choice) -> InfeasibleBudget:
        least_seconds, least_bytes = self.minimum_seconds(), self.minimum_bytes()
        wanted, best = [], []
        if wish.seconds is not None and least_seconds is not None:
            wanted.append(format_seconds(wish.seconds))
            best.append(format_seconds(least_seconds))
        if wish.memory_bytes is not None:
            wanted.append(format_bytes(wish.memory_bytes))
            best.append(format_bytes(least_bytes))
        if wish.joules is not None and self.power is not None and least_seconds is not None:
            wanted.append(f"{wish.joules:.3g} J")
            best.append(f"{self.power.joules(least_seconds):.3g} J")
        nearest = f"{format_bytes(choice.memory_bytes)}"
        if choice.seconds is not None:
            nearest = f"{format_seconds(choice.seconds)} and {nearest}"
        if wish.accuracy is not None:
            most = figures.accuracy(figures.least(lambda o: o.cost))
            wanted.append(f"{figures.manifest.metric} {wish.accuracy:.2%}")
            best.append(f"{figures.manifest.metric} {most:.2%}")
            nearest = f"{nearest} for {choice.accuracy:.2%}"
        return InfeasibleBudget(
            f"no selection fits {' and '.join(wanted)}: the best achievable is {' or '.join(best)}"
            f"{', each taken alone' if len(best) > 1 else ''}; the nearest selection needs {nearest}",
            minimum_seconds=least_seconds,
            minimum_bytes=least_bytes,
            closest=choice.selection,
            closest_seconds=choice.seconds,
            closest_bytes=choice.memory_bytes,
        )
