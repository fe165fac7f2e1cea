"""What was measured on this device, kept between runs: one small file per bundle, device and thread count."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Dict

import torch

from legodnn.shared.files import atomic_write
from legodnn.shared.host import current_host, host_key


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/legodnn``, or ``~/.cache/legodnn``."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "legodnn"


class DeviceCache:
    """Plain values by name, for one bundle on this device with the present number of threads.

    A cache that cannot be read counts as empty, and one that cannot be written is done without: it only saves time.
    """

    def __init__(self, digest: str, enabled: bool = True) -> None:
        self.enabled = enabled
        self.path = cache_folder() / f"{digest[:16]}-{host_key(current_host(), torch.get_num_threads())}.json"

    def get(self, name: str) -> Any:
        """The value stored under ``name``, or None."""
        return self._read().get(name) if self.enabled else None

    def put(self, name: str, value: Any) -> bool:
        """Store a value; False where the cache cannot be written."""
        if not self.enabled:
            return False
        content = {**self._read(), name: value}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            atomic_write(self.path, json.dumps(content, indent=1).encode())
        except OSError:
            return False
        return True

    def _read(self) -> Dict[str, Any]:
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}
