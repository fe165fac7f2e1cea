"""A function call in a fresh process, for results that earlier work in this process would change."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any, Callable, Mapping


def ask(code: str, request: Mapping[str, Any], patience: float) -> Any:
    """Return the answer of a fresh process to a request; None where it fails or takes more than ``patience`` seconds.

    ``code`` is the Python source it runs, which calls `answer`. Its module search path is that of this process.
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
    """In the fresh process: read the request from standard input and print the result of ``find`` as JSON."""
    print(json.dumps(find(json.load(sys.stdin))))
