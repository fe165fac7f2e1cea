"""Calls that only some operating systems have; on others they do nothing, or say that they cannot.

All the project's questions which system this is are asked here.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import sys
import threading
from pathlib import Path
from typing import BinaryIO, Callable, Optional

STEP_SIGNAL: Optional[int] = getattr(signal, "SIGUSR1", None)
"""The signal for a user's own purposes; None on Windows."""

SUSPEND_SIGNAL: Optional[int] = getattr(signal, "SIGTSTP", None)
"""The signal of Ctrl-Z; None on Windows."""

DEFAULT_TERMINAL = "xterm" if os.name == "nt" else "dumb"
"""The kind of terminal where the environment names none: Windows' console understands escape sequences."""

_PEAK, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
_MOUNTS, _DESCRIPTORS = Path("/proc/self/mountinfo"), Path("/proc/self/fd")

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
"""The numbers of `mallopt`'s parameters in glibc's malloc.h."""

_MOST_KEPT = (1 << 31) - 1
"""Bytes that glibc keeps at the top of the heap: the most that it takes. Chosen by the page faults of a MobileNetV2's
build, see `tests/benchmarks/page_faults.py`."""

_DISKS = {"btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "xfs", "zfs"}
"""File systems on a local disk; others may be in memory or on a network."""


# ---- memory of this process -----------------------------------------------------------------------------------------
def knows_peak() -> bool:
    """Whether the system reports a peak of resident memory that can be reset (Linux)."""
    return _PEAK.exists()


def resident_bytes() -> int:
    """Resident bytes of this process now. Raises `OSError` where the system does not tell (all but Linux)."""
    return _status("VmRSS")


def peak_bytes() -> int:
    """The peak of resident bytes since `forget_peak`. Raises `OSError` where the system does not tell."""
    return _status("VmHWM")


def forget_peak() -> None:
    """Reset the peak. Raises `OSError` where the system does not know one."""
    _PEAK.write_text("5", encoding="ascii")


def _status(name: str) -> int:
    for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return 1024 * int(value.split()[0])
    raise OSError(f"{_STATUS}: there is no {name}")


def trim_heap() -> None:
    """Return freed memory to the system, which glibc otherwise keeps; nothing elsewhere.

    No garbage is collected: it would block all threads for about 0.1 s, and compositions are freed by their reference
    counts.
    """
    if sys.platform == "linux":
        malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if malloc_trim is not None:
            malloc_trim(0)


def keep_freed_memory() -> bool:
    """Tell glibc to keep freed memory for later allocations; whether it does. Nothing on other systems.

    By default it maps large blocks anew each time and gives them back at once, and every page of the next one is a page
    fault. What is kept may lie where no later block fits, so that a process needs more memory at its peak.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    return mallopt is not None and bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, _MOST_KEPT))


# ---- pages of mapped files ------------------------------------------------------------------------------------------
def drops_pages() -> bool:
    """Whether `drop_pages` and `reserve` work here (Linux)."""
    return hasattr(mmap, "MADV_DONTNEED") and hasattr(os, "posix_fallocate")


def drop_pages(address: int, length: int) -> None:
    """Tell the system to drop pages of a mapped file from memory; they are read from the file when next used."""
    ctypes.CDLL(None).madvise(ctypes.c_void_p(address), ctypes.c_size_t(length), mmap.MADV_DONTNEED)


def reserve(descriptor: int, length: int) -> None:
    """Give a file its space on the disk now. Raises `OSError` where there is none left."""
    os.posix_fallocate(descriptor, 0, length)


def on_disk(descriptor: int) -> bool:
    """Whether an open file is on a local disk, not in memory nor on a network."""
    device = os.fstat(descriptor).st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in _MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines():
        fields, _, kind = line.partition(" - ")
        if fields.split()[2] == number:
            return kind.split()[0] in _DISKS
    return False


# ---- files ----------------------------------------------------------------------------------------------------------
def file_in_memory(name: str) -> Optional[BinaryIO]:
    """A new file in memory that `descriptor_path` names; None where the system has none."""
    if not hasattr(os, "memfd_create") or not _DESCRIPTORS.is_dir():
        return None
    try:
        return open(os.memfd_create(name), "w+b")
    except OSError:
        return None


def descriptor_path(descriptor: int) -> str:
    """A path by which an open file can be opened again, also one without a name (Linux)."""
    return str(_DESCRIPTORS / str(descriptor))


def sync_directory(directory: Path) -> None:
    """Write a directory's new names to the disk; Windows cannot open a directory, and keeps the names anyway."""
    if os.name != "posix":
        return
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# ---- processes, threads, terminals ----------------------------------------------------------------------------------
def after_fork(action: Callable[[], None]) -> None:
    """Call ``action`` in every process that is forked from this one; Windows forks none."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=action)


def process_exists(number: int) -> bool:
    """Whether a process of this number runs; where the system does not tell without harm (Windows), True."""
    if os.name != "posix":
        return True
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def lower_priority(niceness: int) -> None:
    """Let the scheduler prefer other threads to the calling one (Linux; elsewhere it would be the whole process)."""
    if sys.platform == "linux":
        me = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, me, max(niceness, os.getpriority(os.PRIO_PROCESS, me)))


def enable_escape_sequences() -> None:
    """Make the console of Windows 10 understand escape sequences, as other terminals do."""
    if os.name == "nt":
        os.system("")
