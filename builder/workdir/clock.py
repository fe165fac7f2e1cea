"""How long the stages of a build took, those of earlier runs included."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from legodnn.builder.workdir.stage import Stage


@dataclass(frozen=True)
class StageTime:
    """The time of a stage in seconds, None where it is not known, and a remark for the reader."""

    name: str
    seconds: float | None
    note: str = ""


class Clock:
    """Collects the times of one build's stages in ``stages``, in the order of the calls."""

    def __init__(self) -> None:
        self.started = time.time()
        self.stages: list[StageTime] = []

    @contextmanager
    def watch(self, name: str) -> Iterator[None]:
        """Time the ``with`` block; nothing is recorded where it raises."""
        started = time.monotonic()
        yield
        self.stages.append(StageTime(name, time.monotonic() - started))

    def stored(self, name: str, stages: Iterable[Stage]) -> None:
        """Record the time of stages that are made together: that of this run, or of the run that made their results."""
        found = [stage.finished_by for stage in stages]
        runs = [run for run in found if run is not None]
        if not runs:
            self.stages.append(StageTime(name, None, "taken from before; its time is not known"))
            return
        mine = [run for run in runs if run.ended >= self.started]
        notes = []
        if not mine:
            when = time.strftime("%Y-%m-%d %H:%M", time.localtime(max(run.ended for run in runs)))
            notes.append(f"taken from before: made on {when}")
        elif len(mine) < len(found):
            notes.append(f"{len(found) - len(mine)} of {len(found)} parts taken from before")
        if any(run.resumed for run in mine or runs):
            notes.append("went on from an interrupted run, whose time is not counted")
        self.stages.append(StageTime(name, max(run.seconds for run in mine or runs), "; ".join(notes)))
