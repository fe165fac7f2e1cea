"""What the C library's allocator does with the memory that a build frees.

Kept memory saves page faults: by default large blocks are mapped anew each time. What is kept lies in pieces, where no
larger block fits, so that a build needs more at its peak, and the larger its blocks are the more.
"""

from __future__ import annotations

from legodnn.shared import platform
from legodnn.shared.host import free_memory

LARGEST_BATCH = 16 << 20
"""Bytes of a batch's inputs up to which freed memory is kept. MobileNetV2 at 160 pixels in batches of 32 (9 MiB) spends
4 % of its processor time in the system instead of 19 %, and its peak grows from 1.6 to 2.1 GiB; ResNet-50 at 224 pixels
in batches of 64 (37 MiB) needed more than 8 GiB (`tests/benchmarks/page_faults.py` and `peak_memory.py`)."""

ENOUGH_FREE = 8 << 30
"""Free memory, in bytes, from which on it is kept: where less is free, other processes may need it. Not tuned."""

HELD_BETWEEN_STAGES = 4 << 30
"""Resident bytes from which on a stage gives back what it has freed. Below, the next stage takes it again: giving it
back was half of the page faults of a MobileNetV2's build. Not tuned."""


def keep_freed_memory(batch_bytes: int) -> bool:
    """Let this process keep what it frees, where the inputs of a batch take so many bytes (0: it is not known) and
    enough memory is free; whether it does."""
    if not 0 < batch_bytes <= LARGEST_BATCH or free_memory() < ENOUGH_FREE:
        return False
    return platform.keep_freed_memory()


def end_stage() -> None:
    """Return freed memory to the system where the process holds much."""
    if platform.knows_peak() and platform.resident_bytes() > HELD_BETWEEN_STAGES:
        platform.trim_heap()
