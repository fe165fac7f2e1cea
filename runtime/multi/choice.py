"""`JointChoice`: what was chosen for several networks together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Tuple

from legodnn.runtime.optimizer.choice import Choice


@dataclass(frozen=True)
class JointChoice:
    """A choice for each of several networks, in the order of their workloads, and the sums over them.

    ``utilisation`` is the share of all cores' time, ``watts`` the device's average power, None without power figures.
    """

    choices: Tuple[Choice, ...]
    memory_bytes: int
    utilisation: float
    within_budget: bool
    watts: Optional[float] = None
