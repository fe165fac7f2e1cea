"""How much memory this process holds, now and at most; only Linux tells."""

from __future__ import annotations

from pathlib import Path

_PEAK = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


def can_be_told() -> bool:
    """Whether the system says at all how much a process held at most."""
    return _PEAK.exists()


def resident_bytes() -> int:
    """Bytes that this process holds now."""
    return _bytes("VmRSS")


def peak_bytes() -> int:
    """The most bytes that this process has held since `forget_peak`."""
    return _bytes("VmHWM")


def forget_peak() -> None:
    """Let the system count anew how much this process holds at most."""
    _PEAK.write_text("5", encoding="ascii")


def _bytes(name: str) -> int:
    """A figure that the system keeps of this process."""
    for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return 1024 * int(value.split()[0])
    raise OSError(f"{_STATUS}: there is no {name}")
