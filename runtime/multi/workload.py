"""What one network of several has to do."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Optional

from legodnn.runtime.network import Network
from legodnn.runtime.optimizer.arguments import check_number, check_share


@dataclass(frozen=True)
class Duty:
    """A network, the frames it has to process, and what it may use for them.

    Args:
        network: the network; its latencies must have been measured, with the threads it will have.
        frames_per_second: how many frames arrive. They are processed one after the other, so an inference never takes
            longer than the time from one to the next.
        deadline: seconds within which an inference has to end; None for the time from one frame to the next.
        weight: what its accuracy counts, relative to those of the other networks.
        share: the share of all the device's cores that it occupies while it runs, above 0 and at most 1.
        accuracy: predicted accuracy it must at least have, as a fraction; None for no such bound.

    Raises `UsageError` for numbers that cannot be.
    """

    network: Network
    frames_per_second: float
    deadline: Optional[float] = None
    weight: float = 1.0
    share: float = 1.0
    accuracy: Optional[float] = None

    def __post_init__(self) -> None:
        check_number("the rate", self.frames_per_second, "frames per second")
        check_number("the weight", self.weight, "1 or so")
        check_share("the share of cores", self.share)
        if self.deadline is not None:
            check_number("the deadline", self.deadline, "seconds")
        if self.accuracy is not None:
            check_share("the required accuracy", self.accuracy)

    @property
    def seconds(self) -> Fraction:
        """The longest an inference may take, exactly."""
        period = 1 / Fraction(self.frames_per_second)
        return period if self.deadline is None else min(period, Fraction(self.deadline))

    @property
    def load(self) -> Fraction:
        """The share of all cores' time that is spent for each second an inference takes, exactly."""
        return Fraction(self.frames_per_second) * Fraction(self.share)
