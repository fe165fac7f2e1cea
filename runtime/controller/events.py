"""`Event`: a controller's decision and its reason; `Journal`: hands events to logging and handlers."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Callable, Dict, Mapping, Optional, TextIO

from legodnn.runtime.controller.budget import Budget
from legodnn.shared.bundle.schema import to_plain
from legodnn.shared.units import format_bytes, format_seconds

START, TIGHTER, LOOSER, DRIFT = "start", "tighter", "looser", "drift"
INFEASIBLE, UNREACHABLE, FAILED, SOURCE = "infeasible", "unreachable", "failed", "source"

REASONS: Mapping[str, str] = {
    START: "the first choice",
    TIGHTER: "the current selection exceeded the budget",
    LOOSER: "a more accurate selection fits",
    DRIFT: "inferences take longer than predicted, and longer than the budget",
    INFEASIBLE: "no selection fits, so the nearest is taken",
    UNREACHABLE: "no switch to any fitting selection stays within the memory budget, so what ran before still does",
    FAILED: "a choice or a switch failed, so what ran before still does",
    SOURCE: "a source of budgets failed, so its last budget holds",
}
"""Every reason of an event, with its text."""

logger = logging.getLogger("legodnn.controller")


@dataclass(frozen=True)
class Prediction:
    """Predictions for the new selection in current conditions; seconds are None where latencies are unknown."""

    seconds: Optional[float]
    memory_bytes: int
    accuracy: float


@dataclass(frozen=True)
class Event:
    """A decision, or a failure.

    Args:
        time: of the wall clock, UTC, ISO 8601.
        reason: one of `REASONS`.
        detail: a further sentence, or empty.
        budget: the budget at the time.
        scale: the correction factor of predicted seconds, beyond the budget's slowdown.
        old: the selection before.
        new: the selection after, equal to ``old`` without a switch.
        predicted: for ``new``; None for failures.
        measured: the median of the last inferences of ``old`` in seconds; None without any.
    """

    time: str
    reason: str
    detail: str
    budget: Budget
    scale: float
    old: Dict[str, str]
    new: Dict[str, str]
    predicted: Optional[Prediction]
    measured: Optional[float]

    @property
    def switched(self) -> bool:
        """Whether the selection has changed."""
        return self.old != self.new

    def to_plain(self) -> Dict[str, Any]:
        """Dicts, text and numbers, as JSON has them."""
        plain: Dict[str, Any] = to_plain(self)
        return plain

    def __str__(self) -> str:
        """One line for people."""
        parts = [f"{self.reason}: {self.detail or REASONS[self.reason]}"]
        if self.switched:
            changes = (f"{block} {self.old.get(block)} -> {self.new[block]}" for block in self.new)
            parts.append(", ".join(change for change, block in zip(changes, self.new) if self._changed(block)))
        if self.predicted is not None:
            seconds = f"{format_seconds(self.predicted.seconds)}, " if self.predicted.seconds is not None else ""
            size = format_bytes(self.predicted.memory_bytes)
            parts.append(f"predicted {seconds}{size}, accuracy {self.predicted.accuracy:.1%}")
        if self.measured is not None:
            parts.append(f"measured before {format_seconds(self.measured)}")
        return "; ".join(parts)

    def _changed(self, block: str) -> bool:
        return self.old.get(block) != self.new[block]


EventHandler = Callable[[Event], object]
"""Called with every event, in the control loop's thread."""


class JsonLines:
    """An event handler that writes every event as a line of JSON to a text stream."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __call__(self, event: Event) -> None:
        """Write one event."""
        self._stream.write(json.dumps(event.to_plain(), allow_nan=False) + "\n")
        self._stream.flush()


class Journal:
    """Hands events to the logger ``legodnn.controller`` and to handlers, whose exceptions are logged."""

    def __init__(self, *handlers: EventHandler) -> None:
        self._handlers = handlers

    def write(self, event: Event) -> Event:
        """Log an event and call the handlers; returns the event."""
        normal = event.reason in (START, TIGHTER, LOOSER, DRIFT)
        logger.log(logging.INFO if normal else logging.WARNING, "%s", event)
        for handler in self._handlers:
            try:
                handler(event)
            except Exception:
                logger.exception("an event could not be handed to %r", handler)
        return event


def wall_time() -> str:
    """The wall clock in UTC, ISO 8601 with milliseconds; for logs only, no decision depends on it."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")
