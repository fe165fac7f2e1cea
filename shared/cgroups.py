"""Limits of this process's Linux control group, versions 1 and 2.

Limits of enclosing groups hold as well, so all are read. Missing files mean no limit, as do ``max`` and the huge
numbers of version 1. ``root`` is where the file system begins.
"""

from __future__ import annotations

from pathlib import Path
from typing import Iterator, Optional, Union

_UNLIMITED = 2**60
"""Version 1 writes about 2**63 for no limit."""


def memory_left(root: Union[str, Path] = "/") -> Optional[int]:
    """Bytes left below the tightest limit; None where there is no limit.

    Cached files that the kernel can drop at once count as free.
    """
    lefts = [left for folder in _folders(Path(root), "memory") for left in (_left_v2(folder), _left_v1(folder))]
    return min((left for left in lefts if left is not None), default=None)


def cpu_quota(root: Union[str, Path] = "/") -> Optional[float]:
    """The tightest CPU quota in cores, such as 1.5; None where there is no limit."""
    quotas = [quota for folder in _folders(Path(root), "cpu") for quota in (_quota_v2(folder), _quota_v1(folder))]
    return min((quota for quota in quotas if quota is not None), default=None)


def _folders(root: Path, controller: str) -> Iterator[Path]:
    """Folders of the process's group and of all enclosing groups, in every usual mount of the controller.

    In a container the path may be the host's while the mount begins at the group itself: missing folders have no
    files, and the mount itself is always included.
    """
    base = root / "sys/fs/cgroup"
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            mounts = [base, base / "unified"]
        elif controller in controllers.split(","):
            mounts = [base / controllers, base / controller]
        else:
            continue
        parts = [part for part in path.split("/") if part not in ("", "..")]
        for mount in mounts:
            for depth in range(len(parts), -1, -1):
                yield mount.joinpath(*parts[:depth])


def _left_v2(folder: Path) -> Optional[int]:
    limits = [limit for name in ("memory.max", "memory.high") for limit in [_limit(folder / name)] if limit is not None]
    return _left(min(limits, default=None), folder, "memory.current", "inactive_file")


def _left_v1(folder: Path) -> Optional[int]:
    return _left(_limit(folder / "memory.limit_in_bytes"), folder, "memory.usage_in_bytes", "total_inactive_file")


def _left(limit: Optional[int], folder: Path, usage: str, cached: str) -> Optional[int]:
    if limit is None:
        return None
    used = (_limit(folder / usage) or 0) - _statistic(folder / "memory.stat", cached)
    return max(0, limit - max(0, used))


def _quota_v2(folder: Path) -> Optional[float]:
    quota, _, period = _text(folder / "cpu.max").strip().partition(" ")
    return _cores(_whole(quota), _whole(period))


def _quota_v1(folder: Path) -> Optional[float]:
    return _cores(_limit(folder / "cpu.cfs_quota_us"), _limit(folder / "cpu.cfs_period_us"))


def _cores(quota: Optional[int], period: Optional[int]) -> Optional[float]:
    return quota / period if quota and period else None


def _limit(path: Path) -> Optional[int]:
    return _whole(_text(path).strip())


def _whole(text: str) -> Optional[int]:
    """The number in a text; None for anything else, and for no limit."""
    return int(text) if text.isascii() and text.isdigit() and int(text) < _UNLIMITED else None


def _statistic(path: Path, name: str) -> int:
    for line in _text(path).splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return _whole(value.strip()) or 0
    return 0


def _text(path: Path) -> str:
    """The file's text; empty where it is missing or cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
