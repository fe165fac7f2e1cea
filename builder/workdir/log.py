"""What a build says: on stderr what a user should know, in the work directory everything.

`build.log` has every message with its time, and tracebacks; `build.jsonl` a line of JSON for losses and rates.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

LOG, VALUES = "build.log", "build.jsonl"
"""The files in the work directory."""

EVERY = 10
"""Steps between two lines of losses: an hour of small steps gives a megabyte. Not tuned."""

_everything = logging.getLogger("legodnn")
_values = logging.getLogger("legodnn.values")
_values.propagate = False


@contextmanager
def on_stderr(verbose: bool = False) -> Iterator[None]:
    """A context in which messages are shown on stderr; with ``verbose`` those for finding faults, too."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.DEBUG if verbose else logging.INFO)
    with _handled(_everything, handler):
        yield


@contextmanager
def in_files(work: Path) -> Iterator[None]:
    """A context in which messages, values and the traceback of an exception are appended to files in ``work``."""
    log, values = (logging.FileHandler(work / name, encoding="utf-8", delay=True) for name in (LOG, VALUES))
    log.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    with _handled(_everything, log), _handled(_values, values):
        try:
            yield
        except BaseException as error:
            log.handle(_everything.makeRecord(
                _everything.name, logging.ERROR, __file__, 0, "ended by %s", (type(error).__name__,), sys.exc_info()
            ))  # fmt: skip
            raise


def note(stage: str, **values: Any) -> None:
    """Append values of a stage to `build.jsonl`, with the time."""
    if _values.handlers:
        _values.info(json.dumps({"time": round(time.time(), 3), "stage": stage, **values}))


@contextmanager
def _handled(logger: logging.Logger, handler: logging.Handler) -> Iterator[None]:
    before = logger.level
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()
        logger.setLevel(before)
