"""`Claim`: the use of a directory by one process alone."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from legodnn.shared.errors import WorkError
from legodnn.shared.host import process_started

LOCK = "lock.json"
"""The file of a claim."""

_SAME_START = 1.0
"""Seconds by which two readings of one process's start may differ: systems count in hundredths. Not tuned."""

_WRITING_SECONDS = 1.0
"""How long a lock may be empty while its owner writes it, where there are no hard links; an empty one is stale after
that. Not tuned."""


_GUARD_SECONDS = 10.0
"""How old the file is at most that one process makes while it removes a stale lock, which takes `_WRITING_SECONDS` at
most; one that is older was left by a process that was ended meanwhile. Not tuned."""


class Claim:
    """A context in which no other process, and no other claim of this one, has the directory.

    The claim is a file that names host, process and the process's start. One whose process is gone is stale, and
    replaced. Raises `WorkError` where the directory is taken; on entering only.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / LOCK
        self._text = b""

    def __enter__(self) -> Claim:
        mine = {"host": platform.node(), "process": os.getpid(), "started": process_started(os.getpid())}
        self._text = json.dumps({**mine, "thread": threading.get_ident(), "since": time.time()}).encode()
        while not self._create():
            try:
                owner = self._owner()
            except FileNotFoundError:
                continue
            if owner is not None and not _gone(owner):
                raise WorkError(f"{self.path.parent}: in use {_named(owner)}; wait for it, or name another directory")
            self._remove_stale()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(FileNotFoundError):
            if self.path.read_bytes() == self._text:
                self.path.unlink()

    def _create(self) -> bool:
        """Make the lock, with its content at once where the file system has hard links; whether there was none."""
        own = self.path.with_name(f".{LOCK}.{os.getpid()}-{threading.get_ident()}")
        try:
            own.write_bytes(self._text)
            os.link(own, self.path)
        except FileExistsError:
            return False
        except OSError:
            return self._create_and_write()
        finally:
            own.unlink(missing_ok=True)
        return True

    def _create_and_write(self) -> bool:
        try:
            descriptor = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            return False
        with os.fdopen(descriptor, "wb") as file:
            file.write(self._text)
        return True

    def _owner(self) -> dict[str, Any] | None:
        """The process that the lock names; None for a lock that names none. Raises `FileNotFoundError` where there is
        no lock any more."""
        until = time.monotonic() + _WRITING_SECONDS
        while True:
            try:
                found: dict[str, Any] = json.loads(self.path.read_bytes())
                return found if {"host", "process", "started"} <= set(found) else None
            except ValueError:
                if time.monotonic() > until:
                    return None
                time.sleep(0.05)

    def _remove_stale(self) -> None:
        """Remove the lock if it is stale, as the only one of several that want to; wait a moment where another does."""
        guard = self.path.with_name(f".{LOCK}.guard")
        try:
            os.close(os.open(guard, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            with contextlib.suppress(FileNotFoundError):
                if time.time() - guard.stat().st_mtime > _GUARD_SECONDS:
                    guard.unlink()
            time.sleep(0.05)
            return
        try:
            owner = self._owner()  # once more: another may have removed the stale one, and made its own
            if owner is None or _gone(owner):
                self.path.unlink(missing_ok=True)
        except FileNotFoundError:
            return  # whoever comes now may already make a lock of its own
        finally:
            guard.unlink(missing_ok=True)


def first_foreign(directory: Path) -> str | None:
    """The name of the first file in a directory that is no claim's; None where there is none. Raises `OSError`."""
    return next((path.name for path in sorted(directory.iterdir()) if LOCK not in path.name), None)


def _gone(owner: dict[str, Any]) -> bool:
    """Whether the owner was a process of this machine that has ended; of other machines nothing is known."""
    if owner["host"] != platform.node():
        return False
    started = process_started(owner["process"])
    return started is None or abs(started - owner["started"]) > _SAME_START


def _named(owner: dict[str, Any]) -> str:
    since = time.strftime("%Y-%m-%d %H:%M", time.localtime(owner.get("since", owner["started"])))
    if owner["host"] == platform.node():
        return f"since {since} by process {owner['process']}"
    return f"since {since} by process {owner['process']} on {owner['host']} (if it is gone, remove {LOCK} there)"
