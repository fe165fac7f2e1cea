"""How long the stages of a build took, those of earlier runs included."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

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

    def stored(self, name: str, directory: Path) -> None:
        """Record the time of a stage in a work directory: that of this run, or of the run that made its results."""
        run = Stage(directory, "").finished_by
        if run is None:
            self.stages.append(StageTime(name, None, "taken from before; its time is not known"))
            return
        notes = []
        if run.ended < self.started:
            notes.append(f"taken from before: made on {time.strftime('%Y-%m-%d %H:%M', time.localtime(run.ended))}")
        if run.resumed:
            notes.append("went on from an interrupted run, whose time is not counted")
        self.stages.append(StageTime(name, run.seconds, "; ".join(notes)))
