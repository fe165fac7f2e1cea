"""The work directory of one build."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from legodnn.builder.workdir.claim import Claim, first_foreign
from legodnn.shared.errors import WorkError
from legodnn.shared.files import atomic_write

MARK = "legodnn-work.json"
"""The file by which a work directory is known as one."""


@contextmanager
def open_work(directory: Path) -> Iterator[None]:
    """A context in which a directory, made where it is missing, is this build's alone.

    Raises `WorkError` for one that cannot be made or written to, has files and is no work directory, or is in use.
    """
    check_work(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if not (directory / MARK).exists():
            atomic_write(directory / MARK, json.dumps({"made by": "legodnn-build"}).encode())
    except OSError as error:
        raise WorkError(f"{directory}: cannot be used as a work directory: {error.strerror}") from error
    with Claim(directory):
        yield


def check_work(directory: Path) -> None:
    """Raise `WorkError` for a path that is neither a work directory, nor an empty one, nor free."""
    try:
        if not directory.exists() or (directory / MARK).exists():
            return
        found = first_foreign(directory)
    except OSError as error:
        raise WorkError(f"{directory}: cannot be used as a work directory: {error.strerror}") from error
    if found is not None:
        raise WorkError(f"{directory}: is no work directory and not empty ({found} is in it); name another one")
