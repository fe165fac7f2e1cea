"""Resident memory of this process, now and at its peak; known on Linux only."""

from __future__ import annotations

from pathlib import Path

_PEAK = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


def can_be_told() -> bool:
    """Whether the system reports a peak that can be reset."""
    return _PEAK.exists()


def resident_bytes() -> int:
    """Resident bytes now."""
    return _bytes("VmRSS")


def peak_bytes() -> int:
    """The peak of resident bytes since `forget_peak`."""
    return _bytes("VmHWM")


def forget_peak() -> None:
    """Reset the peak."""
    _PEAK.write_text("5", encoding="ascii")


def _bytes(name: str) -> int:
    """A field of /proc/self/status, in bytes. Raises `OSError` where it is missing."""
    for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return 1024 * int(value.split()[0])
    raise OSError(f"{_STATUS}: there is no {name}")
