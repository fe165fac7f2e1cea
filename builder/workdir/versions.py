"""The versions that results depend on."""

from __future__ import annotations

import torch

from legodnn.shared.console import version


def versions() -> dict[str, str]:
    """LegoDNN's and torch's, by name."""
    return {"version of LegoDNN": version(), "version of torch": str(torch.__version__)}
