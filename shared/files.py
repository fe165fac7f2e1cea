"""Atomic writes."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import threading
from pathlib import Path
from typing import Iterable, Union

from legodnn.shared.platform import process_exists, sync_directory


def atomic_write(path: Union[str, Path], data: Union[bytes, Iterable[bytes]]) -> None:
    """Write ``data`` under a temporary name beside ``path``, sync it, and rename it.

    A reader sees the old content or the new, never a part. The temporary name is that of this machine, process and
    thread; what processes of this machine that are gone left for the same ``path`` is removed first. Raises `OSError`
    (a full disk, a missing directory) and leaves no file behind.
    """
    path = Path(path)
    _remove_left(path)
    temporary = path.parent / f".{path.name}.{_node()}.{os.getpid()}.{threading.get_ident()}.part"
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


def _remove_left(path: Path) -> None:
    """Remove temporary files of processes of this machine that were ended while they wrote ``path``."""
    name = re.compile(rf"\.{re.escape(path.name)}\.{re.escape(_node())}\.(\d+)\.\d+\.part")
    for found in path.parent.glob(".*.part"):
        writer = name.fullmatch(found.name)
        if writer is not None and not process_exists(int(writer.group(1))):
            with contextlib.suppress(FileNotFoundError):
                found.unlink()


def _node() -> str:
    """This machine's name, as part of a file's name."""
    return re.sub(r"[^\w-]", "-", platform.node())
