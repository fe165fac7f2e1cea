"""Properties of this machine; the only module that imports psutil."""

from __future__ import annotations

import hashlib
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional, Union

from legodnn.shared.cgroups import memory_left


def _psutil() -> Any:
    """psutil, imported at its first use, so that programs start sooner that need only the rest of this module."""
    import psutil

    return psutil


@dataclass(frozen=True)
class Host:
    """The properties that measurements depend on; ``torch`` is its version."""

    machine: str
    system: str
    cpu: str
    cores: int
    memory_bytes: int
    python: str
    torch: str


def current_host() -> Host:
    """The machine this runs on."""
    import torch  # at the first use: callers that need only memory start sooner

    return Host(
        machine=platform.machine(),
        system=platform.system(),
        cpu=_cpu_name(),
        cores=cpu_cores(),
        memory_bytes=int(_psutil().virtual_memory().total),
        python=platform.python_version(),
        torch=str(torch.__version__),
    )


def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                key, _, value = line.partition(":")
                if key.strip() in ("model name", "Model"):
                    return value.strip()
    except OSError:
        return platform.processor() or "unknown"
    return platform.processor() or "unknown"


def host_key(host: Host, threads: int) -> str:
    """A hash of the properties that measurements depend on, 16 hexadecimal digits."""
    text = f"{host.machine}|{host.system}|{host.cpu}|{host.cores}|{host.torch}|{threads}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def available_memory() -> int:
    """Bytes available without swapping."""
    return int(_psutil().virtual_memory().available)


def free_memory(root: Union[str, Path] = "/") -> int:
    """Bytes available to this process: of the machine, and within its control group.

    ``root`` is where the file system begins, for the files of control groups.
    """
    left = memory_left(root)
    return available_memory() if left is None else min(left, available_memory())


def process_started(number: int) -> Optional[float]:
    """When a process of this machine was started, in seconds since the epoch; None where there is none."""
    try:
        return float(_psutil().Process(number).create_time())
    except _psutil().NoSuchProcess:
        return None


def cpu_cores() -> int:
    """The number of logical cores."""
    return _psutil().cpu_count(logical=True) or 1


@dataclass(frozen=True)
class CpuSeconds:
    """Seconds of all cores together since some fixed moment: in total, busy, and busy for this process."""

    total: float
    busy: float
    own: float


def cpu_seconds() -> CpuSeconds:
    """The cores' seconds up to now."""
    times = _psutil().cpu_times()._asdict()
    # Linux includes the time of guests in that of their hosts.
    total = sum(seconds for kind, seconds in times.items() if kind not in ("guest", "guest_nice"))
    own = _psutil().Process().cpu_times()
    return CpuSeconds(total, total - times["idle"] - times.get("iowait", 0.0), own.user + own.system)


def cpu_frequency(root: Union[str, Path] = "/") -> float:
    """Current over highest frequency, the largest ratio of any core; 1 where it is unknown.

    ``root`` is where the file system begins, for the files about cores.
    """
    folders = Path(root).glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq")
    shares = [_frequency(folder) for folder in folders]
    return min(1.0, max((share for share in shares if share is not None), default=1.0))


def _frequency(folder: Path) -> Optional[float]:
    try:
        now, most = (int((folder / name).read_text()) for name in ("scaling_cur_freq", "cpuinfo_max_freq"))
    except (OSError, ValueError):
        return None
    return now / most if now > 0 and most > 0 else None
