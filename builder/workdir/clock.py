"""How long the stages of a build took, also those that an earlier run has finished."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from legodnn.builder.workdir.stage import Stage


@dataclass(frozen=True)
class StageTime:
    """What a stage took in seconds, None where nobody measured it, and what a person should know about the number."""

    name: str
    seconds: float | None
    note: str = ""


class Clock:
    """Collects the times of one build's stages in ``stages``, in the order in which they are asked for."""

    def __init__(self) -> None:
        self.started = time.time()
        self.stages: list[StageTime] = []

    @contextmanager
    def watch(self, name: str) -> Iterator[None]:
        """Time what is done in the ``with`` block; nothing is noted where it raises."""
        started = time.monotonic()
        yield
        self.stages.append(StageTime(name, time.monotonic() - started))

    def stored(self, name: str, directory: Path) -> None:
        """Note the time of a stage that keeps its results in a work directory: in this run, or when they were made."""
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
