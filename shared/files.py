"""Atomic writes."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Iterable, Union

from legodnn.shared.platform import sync_directory


def atomic_write(path: Union[str, Path], data: Union[bytes, Iterable[bytes]]) -> None:
    """Write ``data`` under a temporary name beside ``path``, sync it, and rename it.

    A reader sees the old content or the new, never a part. Temporary files of killed runs for the same name are removed
    first. Raises `OSError` (a full disk, a missing directory) and leaves no file behind.
    """
    path = Path(path)
    for stale in path.parent.glob(f".{path.name}.*.part"):
        with contextlib.suppress(FileNotFoundError):
            stale.unlink()
    temporary = path.parent / f".{path.name}.{os.getpid()}.part"
    try:
        with open(temporary, "wb") as file:
            file.writelines([data] if isinstance(data, bytes) else data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.errno is not None:
            raise OSError(error.errno, error.strerror, str(path)) from error  # not the temporary name
        raise
    sync_directory(path.parent)
