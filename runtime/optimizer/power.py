"""`Power`: energy, from power measured by the user."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from legodnn.runtime.optimizer.arguments import check_number
from legodnn.shared.errors import UsageError


@dataclass(frozen=True)
class Power:
    """The device's power in watts while the network computes, and while it is idle.

    Energy is counted beyond idling, which no choice changes; leave ``idle_watts`` at 0 to count all of it. Raises
    `UsageError` unless computing draws more than idling.
    """

    computing_watts: float
    idle_watts: float = 0.0

    def __post_init__(self) -> None:
        check_number("the power while computing", self.computing_watts, "watts")
        if self.idle_watts != 0:
            check_number("the power while idle", self.idle_watts, "watts")
        if self.computing_watts <= self.idle_watts:
            raise UsageError(
                f"{self.computing_watts} watts while computing are not more than {self.idle_watts} while idle; "
                "give both as measured"
            )

    def joules(self, seconds: float) -> float:
        """Joules beyond idling of an inference of ``seconds``."""
        return (self.computing_watts - self.idle_watts) * seconds

    def watts(self, utilisation: float) -> float:
        """Average watts of the device at a utilisation of its cores."""
        return self.idle_watts + (self.computing_watts - self.idle_watts) * utilisation

    def seconds(self, joules: float) -> Fraction:
        """The longest inference with at most these joules beyond idling, in seconds, exactly."""
        return Fraction(joules) / self._extra

    def utilisation(self, watts: float) -> Fraction:
        """The largest utilisation at an average of so many watts, exactly; may be negative."""
        return (Fraction(watts) - Fraction(self.idle_watts)) / self._extra

    @property
    def _extra(self) -> Fraction:
        return Fraction(self.computing_watts) - Fraction(self.idle_watts)
