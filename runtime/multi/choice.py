"""What was chosen for several networks together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Tuple

from legodnn.runtime.optimizer.choice import Choice


@dataclass(frozen=True)
class JointChoice:
    """A choice for each of several networks, in the order of their duties, and what they come to together.

    ``utilisation`` is the share of all cores' time that is spent, ``watts`` the average power of the device, None
    without power figures.
    """

    choices: Tuple[Choice, ...]
    memory_bytes: int
    utilisation: float
    within_budget: bool
    watts: Optional[float] = None
