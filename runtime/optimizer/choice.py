"""What was chosen, and what it is predicted to need and to reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Optional


@dataclass(frozen=True)
class Choice:
    """A selection and what it is predicted to need and to reach.

    ``seconds`` is None where latencies have not been measured; ``accuracy_error`` is the predictor's mean error;
    ``joules`` is what an inference takes beyond idling, None without power figures.
    """

    selection: Dict[str, str]
    seconds: Optional[float]
    memory_bytes: int
    accuracy: float
    accuracy_error: float
    within_budget: bool
    joules: Optional[float] = None
