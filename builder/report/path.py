"""Where a report goes; without torch, so that a command can check it first."""

from __future__ import annotations

from pathlib import Path


def report_path(bundle: Path) -> Path:
    """Where the report of a bundle goes: beside it, ``fashion.report.html`` for ``fashion.lgb``, and
    ``fashion.bin.report.html`` for ``fashion.bin``."""
    return bundle.with_name(f"{bundle.stem if bundle.suffix == '.lgb' else bundle.name}.report.html")
