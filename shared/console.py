"""What both commands share: how they end, and what they say when something is wrong."""

from __future__ import annotations

import argparse
import os
import sys
from importlib import metadata
from typing import Callable, NoReturn

from legodnn.shared.errors import LegoError, UsageError

EXIT_OK, EXIT_ERROR, EXIT_INTERRUPTED, EXIT_PIPE = 0, 2, 130, 141


class CommandParser(argparse.ArgumentParser):
    """Says in one line what is wrong with the arguments, as everything else does."""

    def error(self, message: str) -> NoReturn:
        """Raise `UsageError` with argparse's reason."""
        raise UsageError(f"{message}; see '{self.prog} --help'")


def version() -> str:
    """LegoDNN's version."""
    return metadata.version("legodnn")


def run_command(name: str, body: Callable[[], int]) -> int:
    """Run a command's body and turn what goes wrong into a reason on stderr and an exit status.

    Our own exceptions and those of the system (no such file, disk full) give one line and 2; Ctrl-C gives 130.
    Anything else is a defect of ours and keeps its traceback.
    """
    try:
        status = body()
        sys.stdout.flush()
        return status
    except LegoError as error:
        return _fail(name, str(error))
    except BrokenPipeError:
        # Whoever read our output is gone; the interpreter must not try to flush into it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_PIPE
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        return _fail(name, f"{place}{error.strerror or error}")
    except MemoryError:
        return _fail(name, "out of memory")
    except KeyboardInterrupt:
        print(f"\n{name}: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED


def _fail(name: str, reason: str) -> int:
    for line in reason.splitlines() or ["failed"]:
        print(f"{name}: {line}", file=sys.stderr)
    return EXIT_ERROR
