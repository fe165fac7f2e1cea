"""`Schedule`: budgets by the clock, from a CSV file."""

from __future__ import annotations

import csv
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, List, Optional, Sequence, Tuple, TypeVar, Union

from legodnn.runtime.controller.budget import Budget
from legodnn.runtime.controller.sources.source import Source
from legodnn.shared.errors import UnitError, UsageError
from legodnn.shared.units import parse_bytes, parse_seconds

HEADER = ["at", "time", "memory"]
_ZERO = re.compile(r"0+(\.0*)?\s*([^\d\s.]*)")

T = TypeVar("T")


@dataclass(frozen=True)
class Entry:
    """The budget from ``at`` seconds after the start on."""

    at: float
    budget: Budget


class Schedule(Source):
    """Budgets at given times, each until the next; there is no limit before the first.

    The schedule starts when it is first read, that is, when a controller starts.

    Args:
        entries: in the order of their times.
        clock: returns monotonic seconds.

    Raises `UsageError` for no entries, and for times that do not increase.
    """

    def __init__(self, entries: Sequence[Entry], clock: Callable[[], float] = time.monotonic) -> None:
        if not entries:
            raise UsageError("a schedule without a budget")
        if any(a.at >= b.at for a, b in zip(entries, entries[1:])):
            raise UsageError("the times of a schedule must rise")
        self._entries, self._clock = tuple(entries), clock
        self._started: Optional[float] = None

    @classmethod
    def from_file(cls, path: Union[str, Path], clock: Callable[[], float] = time.monotonic) -> "Schedule":
        """A schedule from a CSV file: the line ``at,time,memory``, then rows such as ``10s,5ms,4.5MiB``.

        Empty cells are no limit. Raises `UsageError` with all mistakes, one a line, and `OSError` where the file
        cannot be read.
        """
        return cls(_Reader(path).entries(), clock)

    def read(self) -> Budget:
        """The budget of the current entry."""
        now = self._clock()
        if self._started is None:
            self._started = now
        begun = [entry.budget for entry in self._entries if entry.at <= now - self._started]
        return begun[-1] if begun else Budget()


class _Reader:
    """Reads one file and collects its errors."""

    def __init__(self, path: Union[str, Path]) -> None:
        self._path = path
        self._mistakes: List[str] = []
        self._latest = -1.0

    def entries(self) -> List[Entry]:
        entries: List[Entry] = []
        rows = [(number, row) for number, row in self._rows() if any(row)]
        if not self._mistakes and (not rows or [cell.lower() for cell in rows[0][1]] != HEADER):
            self._wrong(rows[0][0] if rows else 1, f"the first line must be {','.join(HEADER)}")
        elif not self._mistakes and len(rows) == 1:
            self._wrong(rows[0][0] + 1, "no budget; write a line like 0s,5ms,4.5MiB")
        for number, row in rows[1:]:
            if len(row) == len(HEADER):
                entries.append(self._entry(number, row))
            else:
                self._wrong(number, f"{len(row)} cells where there should be {len(HEADER)}")
        if self._mistakes:
            raise UsageError("\n".join(self._mistakes))
        return entries

    def _rows(self) -> List[Tuple[int, List[str]]]:
        rows: List[Tuple[int, List[str]]] = []
        try:
            with open(self._path, encoding="utf-8-sig", newline="") as file:
                reader = csv.reader(file, strict=True)
                for row in reader:
                    rows.append((reader.line_num, [cell.strip() for cell in row]))
        except (csv.Error, UnicodeDecodeError) as error:
            self._wrong(len(rows) + 1, f"this is not CSV: {error}")
        return rows

    def _entry(self, number: int, row: List[str]) -> Entry:
        at = self._cell(number, row[0], _moment)
        if at is None and not row[0]:
            self._wrong(number, "no time at which it begins")
        elif at is not None and at <= self._latest:
            self._wrong(number, f"'{row[0]}' is not later than the line before")
        self._latest = at if at is not None else self._latest
        seconds, size = self._cell(number, row[1], parse_seconds), self._cell(number, row[2], parse_bytes)
        return Entry(at or 0.0, Budget(seconds, size))

    def _cell(self, number: int, text: str, parse: Callable[[str], T]) -> Optional[T]:
        try:
            return parse(text) if text else None
        except UnitError as error:
            self._wrong(number, str(error))
            return None

    def _wrong(self, number: int, mistake: str) -> None:
        self._mistakes.append(f"{self._path}:{number}: {mistake}")


def _moment(text: str) -> float:
    """Seconds with a unit, or zero, with or without one."""
    zero = _ZERO.fullmatch(text)
    if zero is None:
        return parse_seconds(text)
    if zero.group(2):
        parse_seconds(f"1{zero.group(2)}")  # raises for an unknown unit
    return 0.0
