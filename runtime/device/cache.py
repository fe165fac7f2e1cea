"""The cache of measurements on this device.

There is one small JSON file for each bundle, device, number of threads and batch size, which measurements depend on.
The value ``about`` in a file names these.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any, Dict, Iterator

import torch

from legodnn.shared.files import atomic_write
from legodnn.shared.host import current_host, host_key


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/legodnn``, or ``~/.cache/legodnn``."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "legodnn"


class DeviceCache:
    """Plain values by name, for one bundle on this device with the current number of threads.

    A cache that cannot be read counts as empty; one that cannot be written is ignored, since it only saves time.

    Args:
        digest: of the bundle, hexadecimal.
        enabled: whether the cache is read and written.
        batch: inputs per call.
    """

    def __init__(self, digest: str, enabled: bool = True, batch: int = 1) -> None:
        self.enabled = enabled
        host, threads = current_host(), torch.get_num_threads()
        self.about = {"bundle": digest, "threads": threads, "batch": batch, "host": asdict(host)}
        self.path = cache_folder() / f"{digest[:16]}-{host_key(host, threads)}-{batch}.json"

    def get(self, name: str) -> Any:
        """The value stored under ``name``, or None."""
        return self.content().get(name) if self.enabled else None

    def put(self, name: str, value: Any) -> bool:
        """Store a value; returns False where the cache cannot be written."""
        if not self.enabled:
            return False
        content = {"about": self.about, **_read(self.path), name: value}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            atomic_write(self.path, json.dumps(content, indent=1).encode())
        except OSError:
            return False
        return True

    def content(self) -> Dict[str, Any]:
        """All values by name."""
        return _read(self.path)

    def drop(self) -> bool:
        """Delete all files of this bundle, for any threads, batch and host; returns whether there were any."""
        files = list(_files(self.path.parent, str(self.about["bundle"])))
        for path in files:
            path.unlink()
        return bool(files)


def cached() -> Dict[str, Dict[str, Any]]:
    """The content of every cache file, by path."""
    return {str(path): _read(path) for path in _files(cache_folder())}


def _files(folder: Path, digest: str = "") -> Iterator[Path]:
    return iter(sorted(folder.glob(f"{digest[:16]}*.json")))


def _read(path: Path) -> Dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
