"""The command `legodnn-build`."""

from __future__ import annotations

import sys

from legodnn.shared.console import run_command
from legodnn.shared.errors import MissingExtra

NAME = "legodnn-build"


def main(arguments: list[str] | None = None) -> int:
    """Run `legodnn-build`; returns the exit status."""
    return run_command(NAME, lambda: _run(sys.argv[1:] if arguments is None else arguments))


def _run(arguments: list[str]) -> int:
    try:
        import numpy  # noqa: F401
        import torchvision  # noqa: F401
        import tqdm  # noqa: F401
    except ImportError as error:
        raise MissingExtra(
            f"{error.name} is not installed; the builder needs it: pip install 'legodnn[builder]'"
        ) from error
    from legodnn.builder.cli import run

    return run(NAME, arguments)


if __name__ == "__main__":
    sys.exit(main())
