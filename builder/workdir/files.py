"""The files of stages: tensors and plain values, written atomically; code in them is never run."""

from __future__ import annotations

import io
import json
import warnings
from pathlib import Path
from typing import Any

import torch

from legodnn.shared.errors import WorkError, is_shortage
from legodnn.shared.files import atomic_write


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
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WorkError(f"{path}: missing or damaged; delete the work directory to start afresh") from error
