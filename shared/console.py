"""What both commands share: subcommands, exit statuses and error messages."""

from __future__ import annotations

import argparse
import enum
import os
import sys
import tempfile
import traceback
from importlib import metadata
from typing import Callable, Iterable, List, Mapping, NoReturn, Optional, Sequence, Tuple

from legodnn.shared.errors import LegoError, UsageError, is_shortage, one_line


class Exit(enum.IntEnum):
    """Exit statuses of the commands."""

    DONE = 0
    NOT_AS_ASKED = 1
    REFUSED = 2
    FAULT = 3
    INTERRUPTED = 130
    PIPE = 141


EXIT_STATUSES: Mapping[Exit, str] = {
    Exit.DONE: "done",
    Exit.NOT_AS_ASKED: "done, but not as asked: a self-test found another result",
    Exit.REFUSED: "refused: something is wrong with what was given; one line on stderr says what",
    Exit.FAULT: "a fault of LegoDNN; one line asks for a report and names the file with the traceback",
    Exit.INTERRUPTED: "interrupted with Ctrl-C",
    Exit.PIPE: "whoever read the output went away",
}
"""The meaning of each exit status."""


def exit_statuses() -> str:
    """The table of exit statuses as the help of a command shows it."""
    return "\n".join(f"  {int(status):<5}{meaning}" for status, meaning in EXIT_STATUSES.items())


class CommandParser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Raise `UsageError` with argparse's reason."""
        raise UsageError(f"{message}; see '{self.prog} --help'")


def split_subcommand(
    name: str, arguments: Sequence[str], known: Iterable[str], planned: Iterable[str] = ()
) -> Tuple[str, List[str]]:
    """The subcommand named by the first word and the words after it; without one, the first of ``known`` and all words.

    A file of such a name is written ``./NAME``. Raises `UsageError` for a subcommand that is only ``planned``.
    """
    names, words = list(known), list(arguments)
    if words and words[0] in planned:
        raise UsageError(
            f"'{name} {words[0]}' is kept for a later version; a file of that name is ./{words[0]}, see '{name} --help'"
        )
    if words and words[0] in names:
        return words[0], words[1:]
    return names[0], words


def version() -> str:
    """LegoDNN's version."""
    return metadata.version("legodnn")


def run_command(name: str, body: Callable[[], int], *, debug: bool = False) -> int:
    """Run a command's body; an exception becomes a message on stderr and an exit status, see `Exit`.

    `LegoError` and errors of the system (no such file, disk full) give one line. Anything else is a fault of LegoDNN:
    one line, and a file with the traceback. With ``debug`` tracebacks are printed, too.
    """
    try:
        status = body()
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        # The reader of the output is gone; the interpreter must not flush into it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.PIPE
    except KeyboardInterrupt:
        print(f"\n{name}: interrupted", file=sys.stderr)
        return Exit.INTERRUPTED
    except Exception as error:
        if debug:
            traceback.print_exc()
        reason = _reason(error)
        return _fault(name, error) if reason is None else _refused(name, reason)


def _reason(error: Exception) -> Optional[str]:
    """The reason of an error by the user or the system; None for a fault of LegoDNN."""
    if isinstance(error, LegoError):
        return str(error)
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror or error}"
    return f"out of memory: {one_line(error)}" if is_shortage(error) else None


def _refused(name: str, reason: str) -> int:
    for line in reason.splitlines() or ["failed"]:
        print(f"{name}: {line}", file=sys.stderr)
    return Exit.REFUSED


def _fault(name: str, error: Exception) -> int:
    try:
        with tempfile.NamedTemporaryFile("w", prefix=f"{name}-", suffix=".log", delete=False) as file:
            file.write(f"{name} {version()}: {' '.join(sys.argv[1:])}\n\n")
            traceback.print_exc(file=file)
        what = f"with the file {file.name}"
    except OSError as failure:
        what = f"with what --debug prints (no file could be written: {failure.strerror})"
    reason = f"{type(error).__name__}: {one_line(error)}"
    print(f"{name}: a fault of LegoDNN: {reason}; please report it {what}", file=sys.stderr)
    return Exit.FAULT
