"""Refuses forked processes: they lack torch's worker threads, for which torch would wait forever."""

from __future__ import annotations

import os

import torch

from legodnn.shared.errors import ForkError
from legodnn.shared.platform import after_fork


class _Threads:
    """Whether torch has computed on several threads: in this process, or in one that it was forked from."""

    here = False
    inherited = False


def _note_fork() -> None:
    _Threads.inherited = _Threads.inherited or _Threads.here
    _Threads.here = False


after_fork(_note_fork)


def note_threads() -> None:
    """Note that torch is about to compute in this process."""
    _Threads.here = _Threads.here or torch.get_num_threads() > 1


def require_process(opened_by: int) -> None:
    """Raise `ForkError` unless a network that the process ``opened_by`` opened can run in this one."""
    if os.getpid() != opened_by:
        raise ForkError("this network was opened by a process that this one was forked from: open the bundle here, too")
    if _Threads.inherited and torch.get_num_threads() > 1:
        raise ForkError(
            "this process was forked from one in which networks ran on several threads, and torch's threads are not in "
            "it: call torch.set_num_threads(1) first, or start it by multiprocessing's 'spawn'"
        )
