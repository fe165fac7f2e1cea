"""Freed memory is kept where batches are small and enough is free, and given back at a stage's end where it is much."""

import json
import subprocess
import sys

import pytest

from legodnn.builder.workdir import memory
from legodnn.shared import platform

MIB = 1 << 20

_BUILD = """
import ctypes, json, sys
from legodnn.builder.workdir import memory
from legodnn.shared import platform

memory.ENOUGH_FREE = 0
kept = memory.keep_freed_memory(int(sys.argv[1]))

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p

def freed():
    "Resident bytes after 64 MiB were allocated, filled and freed, more than before."
    before = platform.resident_bytes()
    block = libc.malloc(64 << 20)
    ctypes.memset(block, 1, 64 << 20)
    libc.free(ctypes.c_void_p(block))
    return platform.resident_bytes() - before

left = [freed()]
for held in (1 << 60, 0):
    memory.HELD_BETWEEN_STAGES = held
    before = platform.resident_bytes()
    memory.end_stage()
    left.append(platform.resident_bytes() - before)
print(json.dumps([kept, *left]))
"""


def build(batch_bytes):
    """What is kept of 64 MiB, what the end of a stage changes that holds little, and the end of one that holds much."""
    command = [sys.executable, "-c", _BUILD, str(batch_bytes)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


@pytest.mark.skipif(not platform.knows_peak(), reason="the system does not tell")
@pytest.mark.parametrize(("batch_bytes", "keeps"), [(1, True), (memory.LARGEST_BATCH + 1, False), (0, False)])
def test_small_batches_keep_freed_memory_until_a_stage_holds_much(batch_bytes, keeps):
    said, left, after_little, after_much = build(batch_bytes)
    assert said is keeps
    assert (left > 60 * MIB) is keeps
    assert abs(after_little) < 4 * MIB
    assert (after_much < -60 * MIB) is keeps


def test_memory_is_given_back_where_little_is_free(monkeypatch):
    monkeypatch.setattr(memory, "ENOUGH_FREE", 1 << 60)
    assert not memory.keep_freed_memory(1)
