"""What is taken from a work directory, what is made again, and because of which change."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from legodnn.builder.workdir.stage import Stage
from legodnn.shared.naming import few


class Reuse:
    """The stages of a build as they were found, in the order in which they are added."""

    def __init__(self) -> None:
        self._stages: dict[str, list[Stage]] = {}
        self._changed: dict[str, list[str]] = {}
        self._missing: dict[str, int] = {}

    def add(self, name: str, stages: Iterable[Stage]) -> None:
        """Note what is found of a stage, of one or several parts, before it is made."""
        found = list(stages)
        self._stages[name] = found
        todo = [stage for stage in found if not stage.done]
        self._missing[name] = len(todo)
        self._changed[name] = list(dict.fromkeys(change for stage in todo for change in stage.changes() or ()))

    def stages(self, name: str) -> Sequence[Stage]:
        """The parts of a stage."""
        return self._stages[name]

    def changes(self) -> list[str]:
        """A line for every set of stages that are made again because of the same changes: ``bundle.mean changed:
        teacher, distill, profile again``."""
        rows: dict[tuple[str, ...], list[str]] = {}
        for stage, changed in self._changed.items():
            if changed:
                rows.setdefault(tuple(changed), []).append(stage)
        return [f"{few(changed)} changed: {', '.join(stages)} again" for changed, stages in rows.items()]

    def lines(self) -> list[str]:
        """A line for every stage: whether it is taken from before, or made, and why."""
        return [f"{name}: {self._line(name)}" for name in self._stages]

    def _line(self, name: str) -> str:
        parts, missing = len(self._stages[name]), self._missing[name]
        if not missing:
            return "taken from before"
        some = f"{missing} of {parts} parts " if parts > 1 and missing < parts else ""
        if self._changed[name]:
            return f"{some}again, {few(self._changed[name])} changed"
        return f"{some}to be made"
