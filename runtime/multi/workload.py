"""`Duty`: the workload of one network."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Optional

from legodnn.runtime.network import Network
from legodnn.runtime.optimizer.arguments import check_number, check_share


@dataclass(frozen=True)
class Duty:
    """The workload of one network: its rate of frames, deadline, weight and share of the cores.

    Args:
        network: the network; its latencies must have been measured, with the threads it will have.
        frames_per_second: the rate of frames. They are processed one after the other, so an inference must not take
            longer than the period.
        deadline: the most seconds of an inference; None for the period.
        weight: of its accuracy in the sum over networks.
        share: the share of all the device's cores that it occupies while it runs, above 0 and at most 1.
        accuracy: the least predicted accuracy, as a fraction; None for no bound.

    Raises `UsageError` for numbers out of range.
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
        """The most seconds of an inference, exactly."""
        period = 1 / Fraction(self.frames_per_second)
        return period if self.deadline is None else min(period, Fraction(self.deadline))

    @property
    def load(self) -> Fraction:
        """Utilisation per second of an inference, exactly."""
        return Fraction(self.frames_per_second) * Fraction(self.share)
