"""Where in a user's own code an exception was raised."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from legodnn.builder.workdir.sources import is_installed
from legodnn.shared import errors
from legodnn.shared.errors import LegoError, OwnCodeError, is_shortage, one_line

_LEGODNN = (Path(__file__).resolve().parents[1], Path(errors.__file__).resolve().parent)
"""The folders of the builder and of what is shared."""


def own_line(error: BaseException) -> str | None:
    """The innermost line of a user's code that an exception came through, ``my_data.py, line 12``; None for none."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if path.is_file() and not is_installed(path) and not _is_legodnn(path):
            return f"{path.name}, line {frame.lineno}"
    return None


def told(error: BaseException) -> str:
    """An exception in one line, with the line of a user's code where there is one."""
    place = own_line(error)
    return f"{type(error).__name__}: {one_line(error)}{f' ({place})' if place else ''}"


@contextmanager
def own_errors() -> Iterator[None]:
    """A context that raises `OwnCodeError` in place of exceptions that came through a user's code."""
    try:
        yield
    except (LegoError, OSError):
        raise
    except Exception as error:
        if own_line(error) is None or is_shortage(error):
            raise
        raise OwnCodeError(f"{told(error)}; --debug shows the traceback") from error


def _is_legodnn(path: Path) -> bool:
    return any(path.resolve().is_relative_to(folder) for folder in _LEGODNN)
