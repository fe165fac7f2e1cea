"""What was measured on this device, kept between runs.

There is one small file for each bundle, device, number of threads and batch size: whatever measurements depend on. The
files are JSON; their ``about`` says what they are of.
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
    """Plain values by name, for one bundle on this device with the present number of threads.

    A cache that cannot be read counts as empty, and one that cannot be written is done without: it only saves time.

    Args:
        digest: identifies the bundle.
        enabled: whether anything is read or written at all.
        batch: how many inputs the network computes at a time.
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
        """Store a value; False where the cache cannot be written."""
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
        """All that is stored, by name."""
        return _read(self.path)

    def drop(self) -> bool:
        """Forget what was measured of this bundle in all circumstances; whether there was anything."""
        files = list(_files(self.path.parent, str(self.about["bundle"])))
        for path in files:
            path.unlink()
        return bool(files)


def cached() -> Dict[str, Dict[str, Any]]:
    """Everything that was measured on this device and is remembered, by file."""
    return {str(path): _read(path) for path in _files(cache_folder())}


def _files(folder: Path, digest: str = "") -> Iterator[Path]:
    return iter(sorted(folder.glob(f"{digest[:16]}*.json")))


def _read(path: Path) -> Dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
