"""Files in folders; names in annotations, kept inside their folder."""

from __future__ import annotations

import os
import re
from typing import List, Sequence, Tuple, Union

from legodnn.shared.errors import DataError, InputError


def inside(folder: str, name: object) -> str:
    """The path of an annotation's file ``name`` in ``folder`` or below it.

    Raises `InputError` for anything but a relative path inside it.
    """
    if not isinstance(name, str) or not name or "\0" in name:
        raise InputError(f"{name!r} is no file's name")
    parts = name.replace("\\", "/").split("/")
    if parts[0] == "" or ":" in parts[0] or ".." in parts:
        raise InputError(f"'{name}' leads out of the data's folder")
    return os.path.join(folder, *parts)


def sub_folders(path: str) -> List[str]:
    """The names of the folders in a folder, sorted, without hidden ones."""
    with os.scandir(path) as entries:
        return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))


def files_in(path: str, suffixes: Sequence[str]) -> List[str]:
    """The names of the files in a folder that end in one of the suffixes, sorted, without hidden ones."""
    with os.scandir(path) as entries:
        return sorted(e.name for e in entries if is_file_of(e.name, suffixes) and e.is_file())


def files_below(path: str, suffixes: Sequence[str]) -> List[str]:
    """As `files_in`, recursively; paths are relative to ``path``."""
    found: List[str] = []
    for folder, below, names in os.walk(path):
        below[:] = [name for name in below if not name.startswith(".")]
        found += [os.path.relpath(os.path.join(folder, name), path) for name in names if is_file_of(name, suffixes)]
    return sorted(found)


def is_file_of(name: str, suffixes: Sequence[str]) -> bool:
    """Whether a file's name ends in one of the suffixes, ignoring case, and is not hidden."""
    return name.lower().endswith(tuple(suffixes)) and not name.startswith(".")


def in_order(names: Sequence[str]) -> List[str]:
    """Names in natural order: ``frame2`` before ``frame10``."""
    return sorted(names, key=_counted)


def require_some(found: Sequence[object], path: str, what: str) -> None:
    """Raise `DataError` where nothing was found."""
    if not found:
        raise DataError(f"{path}: no {what}")


def _counted(name: str) -> Tuple[List[Tuple[bool, Union[int, str]]], str]:
    parts = [part for part in re.split(r"([0-9]+)", name) if part]
    # Numbers sort before text, so that the two are never compared; the whole name breaks ties of 1 and 01.
    return [(not part.isdigit(), int(part) if part.isdigit() else part) for part in parts], name
