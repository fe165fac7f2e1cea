"""The command `legodnn-run`: what it is told to do is done by a module of its own, which knows the arguments."""

from __future__ import annotations

import sys
from typing import List, Optional

from legodnn.runtime.command import run
from legodnn.shared.console import run_command

NAME = "legodnn-run"


def main(arguments: Optional[List[str]] = None) -> int:
    """Run `legodnn-run`; returns the exit status."""
    return run_command(NAME, lambda: run.run(NAME, arguments))


if __name__ == "__main__":
    sys.exit(main())
