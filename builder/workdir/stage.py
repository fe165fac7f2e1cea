"""The work directory: results written atomically, valid for one fingerprint of their inputs."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from legodnn.shared.errors import WorkError, is_shortage
from legodnn.shared.files import atomic_write

_MARK = "stage.json"


def fingerprint(*parts: Any) -> str:
    """A hash of plain values (anything JSON can hold) and of mappings from names to tensors."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Mapping) and any(isinstance(v, Tensor) for v in part.values()):
            for name, value in part.items():
                digest.update(f"{name}:{value.dtype}:{tuple(value.shape)}".encode())
                digest.update(tensor_bytes(value))
        else:
            digest.update(json.dumps(part, sort_keys=True, default=str).encode())
    return digest.hexdigest()


def tensor_bytes(value: Tensor) -> bytes:
    """The tensor's elements in order, as they lie in memory."""
    return value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


@dataclass(frozen=True)
class Run:
    """The run that finished a stage: how long it took, whether it went on from one that was interrupted, and when it
    ended, in seconds since the epoch."""

    seconds: float
    resumed: bool
    ended: float


class Stage:
    """A directory that holds one stage's results for one fingerprint of its inputs."""

    def __init__(self, directory: str | Path, inputs: str) -> None:
        self.directory = Path(directory)
        self.inputs = inputs
        self._started = time.monotonic()
        self._resumed = False

    def begin(self) -> None:
        """Make the directory; delete results of other inputs. Raises `WorkError` where it cannot be made."""
        self._started = time.monotonic()
        self._resumed = self._mark().get("inputs") == self.inputs
        if self._resumed:
            return
        try:
            if (self.directory / _MARK).exists():
                shutil.rmtree(self.directory)
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WorkError(f"{self.directory}: cannot be used as a work directory: {error.strerror}") from error
        self._write({"inputs": self.inputs, "done": False})

    @property
    def done(self) -> bool:
        """Whether the stage has finished for these inputs."""
        mark = self._mark()
        return mark.get("inputs") == self.inputs and mark.get("done") is True

    @property
    def recorded_inputs(self) -> str:
        """The fingerprint the directory's present content was made from; empty where there is none."""
        return str(self._mark().get("inputs", ""))

    def finish(self) -> None:
        """Mark the stage as finished, with the time since `begin`."""
        run = Run(time.monotonic() - self._started, self._resumed, time.time())
        self._write({"inputs": self.inputs, "done": True, "run": vars(run)})

    @property
    def finished_by(self) -> Run | None:
        """The run that finished what is in the directory, whatever its inputs; None where that is not recorded."""
        run = self._mark().get("run")
        return Run(**run) if run else None

    def require(self, command: str) -> None:
        """Raise `WorkError` unless the stage has finished for these inputs; ``command`` would make it."""
        if not self.done:
            raise WorkError(f"{self.directory}: nothing finished here for these settings; run {command}")

    def path(self, *parts: str) -> Path:
        """A file of the stage."""
        return self.directory.joinpath(*parts)

    def _mark(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads((self.directory / _MARK).read_text())
        except (OSError, ValueError):
            return {}
        return found

    def _write(self, mark: Mapping[str, Any]) -> None:
        atomic_write(self.directory / _MARK, json.dumps(mark).encode())


def save_tensors(path: Path, content: Any) -> None:
    """Write tensors and plain values in nested dicts and lists."""
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    torch.save(content, buffer)
    atomic_write(path, buffer.getvalue())


def read_tensors(path: Path) -> Any:
    """What a file of tensors and plain values holds, on the CPU; no code in it is run."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="TypedStorage is deprecated")  # torch 2.1 warns of its own doing
        return torch.load(path, map_location="cpu", weights_only=True)


def load_tensors(path: Path) -> Any:
    """The content that `save_tensors` wrote. Raises `WorkError` for a file that is missing or damaged."""
    try:
        return read_tensors(path)
    except Exception as error:
        if is_shortage(error):
            raise
        raise WorkError(f"{path}: missing or damaged; delete the work directory to start afresh") from error


def save_json(path: Path, content: Any) -> None:
    """Write plain values as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, json.dumps(content, indent=1, sort_keys=True).encode())


def load_json(path: Path) -> Any:
    """The content that `save_json` wrote. Raises `WorkError` for a file that is missing or damaged."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise WorkError(f"{path}: missing or damaged; delete the work directory to start afresh") from error
