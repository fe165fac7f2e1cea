"""A fresh process that is asked something, since what has run in this one before would change the answer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any, Callable, Mapping


def ask(code: str, request: Mapping[str, Any], patience: float) -> Any:
    """What a fresh process answers to a request within so many seconds; None where none comes.

    ``code`` is Python that it runs, which calls `answer`; it imports from where this process does.
    """
    if not sys.executable:
        return None
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p or os.getcwd() for p in sys.path)}
    try:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code], input=json.dumps(request),
            capture_output=True, text=True, check=True, timeout=patience, env=environment,
        )  # fmt: skip
        return json.loads(done.stdout.splitlines()[-1])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None


def answer(find: Callable[[Mapping[str, Any]], Any]) -> None:
    """In the fresh process: read the request from standard input and print what ``find`` finds."""
    print(json.dumps(find(json.load(sys.stdin))))
