"""`Choice`: a selection and its predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Optional


@dataclass(frozen=True)
class Choice:
    """A selection and its predictions.

    ``seconds`` per inference are None where latencies have not been measured; ``accuracy`` is a fraction,
    ``accuracy_error`` the error to expect of it, see `prediction_error`; ``joules`` per inference are those beyond
    idling, None without power figures.
    """

    selection: Dict[str, str]
    seconds: Optional[float]
    memory_bytes: int
    accuracy: float
    accuracy_error: float
    within_budget: bool
    joules: Optional[float] = None
