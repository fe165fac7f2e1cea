"""What is known of this machine; the only home of psutil."""

from __future__ import annotations

import hashlib
import platform
from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class Host:
    """The facts a measurement depends on; ``torch`` is its version."""

    machine: str
    system: str
    cpu: str
    cores: int
    memory_bytes: int
    python: str
    torch: str


def current_host() -> Host:
    """The machine this runs on."""
    import torch  # not needed by those who only ask for memory

    return Host(
        machine=platform.machine(),
        system=platform.system(),
        cpu=_cpu_name(),
        cores=psutil.cpu_count(logical=True) or 1,
        memory_bytes=int(psutil.virtual_memory().total),
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
    """A short text that changes when measurements made here no longer hold."""
    facts = f"{host.machine}|{host.system}|{host.cpu}|{host.cores}|{host.torch}|{threads}"
    return hashlib.sha256(facts.encode()).hexdigest()[:16]


def available_memory() -> int:
    """Bytes a process could take now without swapping."""
    return int(psutil.virtual_memory().available)


def process_memory() -> int:
    """Bytes of physical memory this process holds."""
    return int(psutil.Process().memory_info().rss)
