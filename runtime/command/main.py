"""The entry point of the command `legodnn-run`: each subcommand is a module with its arguments."""

from __future__ import annotations

import sys
from typing import Callable, List, Mapping, Optional

from legodnn.runtime.command import run
from legodnn.shared.console import run_command, split_subcommand

NAME = "legodnn-run"

SUBCOMMANDS: Mapping[str, Callable[[str, List[str]], int]] = {"run": run.run}
"""By name; the first is meant where there is none."""

PLANNED = ("doctor", "update")
"""Names kept for later versions."""


def main(arguments: Optional[List[str]] = None) -> int:
    """Run `legodnn-run`; returns the exit status, see `legodnn.shared.console.Exit`."""
    words = sys.argv[1:] if arguments is None else arguments
    return run_command(NAME, lambda: _dispatch(words), debug="--debug" in words)


def _dispatch(arguments: List[str]) -> int:
    subcommand, words = split_subcommand(NAME, arguments, SUBCOMMANDS, PLANNED)
    return SUBCOMMANDS[subcommand](NAME, words)


if __name__ == "__main__":
    sys.exit(main())
