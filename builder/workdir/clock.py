"""How long the stages of a build took, those of earlier runs included, and the memory that they needed."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from legodnn.builder.workdir.memory import end_stage
from legodnn.builder.workdir.stage import Stage
from legodnn.shared import platform

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StageTime:
    """The time of a stage in seconds and the process's peak memory in bytes meanwhile, with what earlier stages have
    freed and the process has kept; None where they are not known. And a remark for the reader."""

    name: str
    seconds: float | None
    note: str = ""
    peak_bytes: int | None = None


class Clock:
    """Collects the times of one build's stages in ``stages``, in the order of the calls."""

    def __init__(self) -> None:
        self.started = time.time()
        self.stages: list[StageTime] = []

    @contextmanager
    def watch(self, name: str, parts: Sequence[Stage] = ()) -> Iterator[None]:
        """Time the ``with`` block, which makes the parts of a stage in a work directory or takes them from there; then
        the time is that of the run that made them. Nothing is recorded where it raises."""
        started = time.monotonic()
        made_now = not parts or not all(part.done for part in parts)
        if platform.knows_peak():
            platform.forget_peak()
        logger.debug("%s: %s", name, "begun" if made_now else "taken from before")
        yield
        end_stage()
        peak = platform.peak_bytes() if made_now and platform.knows_peak() else None
        if parts:
            self.stages.append(self._stored(name, parts, peak))
        else:
            self.stages.append(StageTime(name, time.monotonic() - started, peak_bytes=peak))
        logger.debug("%s: done after %.3f s", name, time.monotonic() - started)

    def _stored(self, name: str, parts: Sequence[Stage], peak: int | None) -> StageTime:
        found = [part.finished_by for part in parts]
        runs = [run for run in found if run is not None]
        if not runs:
            return StageTime(name, None, "taken from before; its time is not known")
        mine = [run for run in runs if run.ended >= self.started]
        notes = []
        if not mine:
            when = time.strftime("%Y-%m-%d %H:%M", time.localtime(max(run.ended for run in runs)))
            notes.append(f"taken from before: made on {when}")
        elif len(mine) < len(found):
            notes.append(f"{len(found) - len(mine)} of {len(found)} parts taken from before")
        if any(run.resumed for run in mine or runs):
            notes.append("went on from an interrupted run, whose time is not counted")
        return StageTime(name, max(run.seconds for run in mine or runs), "; ".join(notes), peak)
