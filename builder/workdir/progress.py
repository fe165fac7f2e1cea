"""Progress with an estimate of the time left: a bar on a terminal, a plain line every `LINE_SECONDS` elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from tqdm import tqdm

QUIET_SECONDS = 2.0
"""Work that takes less shows nothing. Not tuned."""

LINE_SECONDS = 10.0
"""The interval of lines where there is no terminal. Not tuned."""


class progress:  # noqa: N801  (used like a function)
    """``with progress("distill", total=96) as bar: ... bar.advance()``"""

    def __init__(self, label: str, total: int, unit: str = "batch") -> None:
        self.label = label
        self.total = total
        self.unit = unit
        self.done = 0
        self.started = time.monotonic()
        self._said = self.started
        self._terminal = sys.stderr.isatty()
        self._bar = tqdm(
            total=total, desc=label, unit=unit, delay=QUIET_SECONDS, leave=False, disable=not self._terminal
        )

    def advance(self, count: int = 1) -> None:
        """Count ``count`` more units as done."""
        self.done += count
        self._bar.update(count)
        now = time.monotonic()
        if not self._terminal and now - self._said >= (LINE_SECONDS if self._said > self.started else QUIET_SECONDS):
            self._said = now
            self._write_line(now - self.started)

    def _write_line(self, elapsed: float) -> None:
        share = self.done / self.total if self.total else 1.0
        left = tqdm.format_interval(elapsed / share - elapsed) if share else "?"
        print(f"{self.label}: {self.done}/{self.total} {self.unit} ({share:.0%}), {left} left", file=sys.stderr)

    def __enter__(self) -> progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
        elapsed = time.monotonic() - self.started
        if kind is None and elapsed >= QUIET_SECONDS:
            print(f"{self.label}: done in {tqdm.format_interval(elapsed)}", file=sys.stderr)
