"""The command `legodnn-build`."""

from __future__ import annotations

import importlib.util
import sys

from legodnn.shared.console import run_command
from legodnn.shared.errors import MissingExtra

NAME = "legodnn-build"

REQUIRED = ("numpy", "torchvision", "tqdm", "jinja2", *(() if sys.version_info >= (3, 11) else ("tomli",)))
"""The packages of the extra ``builder``."""


def main(arguments: list[str] | None = None) -> int:
    """Run `legodnn-build`; returns the exit status."""
    words = sys.argv[1:] if arguments is None else arguments
    return run_command(NAME, lambda: _run(words), debug="--debug" in words)


def _run(arguments: list[str]) -> int:
    missing = [name for name in REQUIRED if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtra(f"{', '.join(missing)} not installed; the builder needs: pip install 'legodnn[builder]'")
    from legodnn.builder.cli import run

    return run(NAME, arguments)


if __name__ == "__main__":
    sys.exit(main())
