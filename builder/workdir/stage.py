"""`Stage`: a directory with one result of a build, and the inputs that it was made from."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from legodnn.builder.workdir.claim import Claim, first_foreign
from legodnn.shared.errors import WorkError
from legodnn.shared.files import atomic_write

MARK = "stage.json"
"""The file in a stage's directory that says what it was made from, which files are ours, and whether it is done."""

Inputs = Mapping[str, str]
"""All that determines a result: a short text or a digest for every name, which is a recipe's key where it has one."""


@dataclass(frozen=True)
class Run:
    """The run that finished a stage: how long it took, whether it went on from one that was interrupted, and when it
    ended, in seconds since the epoch."""

    seconds: float
    resumed: bool
    ended: float


class Stage:
    """A directory that holds one stage's result for one set of inputs.

    Only files that the mark names are ever removed, and a directory that has files but no mark is refused.
    """

    def __init__(self, directory: str | Path, inputs: Inputs) -> None:
        self.directory = Path(directory)
        self.inputs = dict(inputs)

    @contextmanager
    def making(self, files: Sequence[str]) -> Iterator[None]:
        """A context in which the result is made, by this process alone; leaving it without an exception finishes it.

        ``files`` are the names of all files that may be written, relative to the directory. The result of other inputs
        is removed first; what an interrupted run made of the same ones is kept. Raises `WorkError` for a directory that
        cannot be used, has files of others, or is in use.
        """
        started = time.monotonic()
        self._make_directory()
        with Claim(self.directory):
            mark = self._mark()
            resumed = mark.get("inputs") == self.inputs
            if not resumed:
                self._remove(mark.get("files", ()))
            self._write({"inputs": self.inputs, "files": sorted(files), "done": False})
            yield
            run = Run(time.monotonic() - started, resumed, time.time())
            self._write({"inputs": self.inputs, "files": sorted(files), "done": True, "run": vars(run)})

    @property
    def done(self) -> bool:
        """Whether the result is there, made from these inputs."""
        mark = self._mark()
        return mark.get("inputs") == self.inputs and mark.get("done") is True

    @property
    def recorded_inputs(self) -> dict[str, str]:
        """The inputs that the directory's present content was made from; empty where there is none."""
        found: dict[str, str] = self._mark().get("inputs", {})
        return found

    def changes(self) -> list[str] | None:
        """The names of the inputs that differ from those of the content; None where there is no content."""
        before = self.recorded_inputs
        if not before:
            return None
        return [name for name in {**self.inputs, **before} if before.get(name) != self.inputs.get(name)]

    @property
    def finished_by(self) -> Run | None:
        """The run that finished what is in the directory, whatever its inputs; None where that is not recorded."""
        run = self._mark().get("run")
        return Run(**run) if run else None

    def require(self, command: str) -> None:
        """Raise `WorkError` unless the result is there for these inputs; ``command`` would make it."""
        if not self.done:
            changed = ", ".join(self.changes() or ())
            why = f"made from something else ({changed})" if changed else "nothing finished here"
            raise WorkError(f"{self.directory}: {why}; run {command}")

    def path(self, *parts: str) -> Path:
        """A file of the stage."""
        return self.directory.joinpath(*parts)

    def _make_directory(self) -> None:
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            foreign = not self.path(MARK).exists() and first_foreign(self.directory)
        except OSError as error:
            raise WorkError(f"{self.directory}: cannot be used as a work directory: {error.strerror}") from error
        if foreign:
            raise WorkError(f"{self.directory}: has files that no build wrote ({foreign}); name another directory")

    def _remove(self, files: Iterable[str]) -> None:
        """Remove files of the directory, by their relative names, and folders that are empty then."""
        for name in files:
            path = self.path(name)
            if path.resolve().is_relative_to(self.directory.resolve()):
                path.unlink(missing_ok=True)
                if path.parent != self.directory:
                    with contextlib.suppress(OSError):  # missing, or not empty
                        path.parent.rmdir()

    def _mark(self) -> dict[str, Any]:
        try:
            found = json.loads(self.path(MARK).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise WorkError(f"{self.path(MARK)}: damaged; delete the directory to start afresh") from error
        return found if isinstance(found, dict) and isinstance(found.get("inputs"), dict) else {}

    def _write(self, mark: Mapping[str, Any]) -> None:
        atomic_write(self.path(MARK), json.dumps(mark, indent=1).encode())
