"""`Event`: what a controller decided, when and why; `Journal`: where events go."""

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
    TIGHTER: "what ran needs more than there is",
    LOOSER: "there is room for a better selection",
    DRIFT: "inferences take longer than predicted, and so longer than there is",
    INFEASIBLE: "no selection fits, so the nearest is taken",
    UNREACHABLE: "no switch to any fitting selection stays within the memory budget, so what ran before still does",
    FAILED: "a choice or a switch failed, so what ran before still does",
    SOURCE: "a source of budgets failed, so what it said last holds",
}
"""Every reason of an event, and what it means."""

logger = logging.getLogger("legodnn.controller")


@dataclass(frozen=True)
class Prediction:
    """What the new selection is expected to need and to reach, in present conditions; seconds where they are known."""

    seconds: Optional[float]
    memory_bytes: int
    accuracy: float


@dataclass(frozen=True)
class Event:
    """A decision, or a failure.

    Args:
        time: by the wall clock, in UTC, as ISO 8601 has it.
        reason: one of `REASONS`.
        detail: what else there is to say, a sentence or nothing.
        budget: what there was.
        scale: how many times longer than predicted inferences are taken to take, beyond the budget's slowdown.
        old: the selection that ran.
        new: the selection that runs now, the same as ``old`` where nothing was switched.
        predicted: of ``new``; None for failures.
        measured: seconds, the median of the last inferences of ``old``; None where there were none.
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
        """Whether another selection runs now."""
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


Sink = Callable[[Event], object]
"""Called with every event, in the thread that decides."""


class JsonLines:
    """A sink that writes every event as a line of JSON to a text stream."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __call__(self, event: Event) -> None:
        """Write one event."""
        self._stream.write(json.dumps(event.to_plain(), allow_nan=False) + "\n")
        self._stream.flush()


class Journal:
    """Hands events to `logging`, under the name ``legodnn.controller``, and to sinks, whose exceptions do no harm."""

    def __init__(self, *sinks: Sink) -> None:
        self._sinks = sinks

    def write(self, event: Event) -> Event:
        """Hand an event on."""
        normal = event.reason in (START, TIGHTER, LOOSER, DRIFT)
        logger.log(logging.INFO if normal else logging.WARNING, "%s", event)
        for sink in self._sinks:
            try:
                sink(event)
            except Exception:
                logger.exception("an event could not be handed to %r", sink)
        return event


def wall_time() -> str:
    """Now by the wall clock, for people and logs: nothing is ever decided by it."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")
