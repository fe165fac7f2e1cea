"""Runs the feeds of several networks, each in a thread of its own."""

from __future__ import annotations

import queue
import threading
from contextlib import suppress
from typing import Optional, Sequence

from legodnn.runtime.command.feed import Feed
from legodnn.runtime.command.stopping import StopAsked, Stopping

_WAIT_SECONDS = 1.0
"""Seconds of one wait: on Windows, Ctrl-C takes up to that long; not tuned."""


class _Runner:
    """One feed in its thread; the runner is put into ``ended`` when it is done, with its exception in ``error``."""

    def __init__(self, feed: Feed, limit: Optional[int], ended: "queue.Queue[_Runner]") -> None:
        self.feed = feed
        self.error: Optional[BaseException] = None
        self._limit, self._ended = limit, ended
        # A daemon: a second signal must end the process whatever a feed is doing.
        self.thread = threading.Thread(target=self._run, name=f"legodnn-feed-{feed.name}", daemon=True)

    def _run(self) -> None:
        try:
            self.feed.run(self._limit)
        except BaseException as error:  # raised in the main thread
            self.error = error
        self._ended.put(self)


def run_together(feeds: Sequence[Feed], stopping: Stopping, limit: Optional[int] = None) -> Optional[BaseException]:
    """Run feeds in parallel until all have ended, one has failed, or a signal arrives; for the main thread.

    Frames in progress are finished. Returns the first error of a feed, or None.
    """
    ended: "queue.Queue[_Runner]" = queue.Queue()
    runners = [_Runner(feed, limit, ended) for feed in feeds]
    failed: Optional[BaseException] = None
    with suppress(StopAsked):
        try:
            for runner in runners:
                runner.thread.start()
            failed = _wait(ended, len(runners))
        finally:
            with stopping.finishing():
                _end(runners)
    return failed or next((r.error for r in runners if r.error is not None), None)


def _wait(ended: "queue.Queue[_Runner]", running: int) -> Optional[BaseException]:
    while running:
        try:
            # In short waits, since Windows delivers Ctrl-C between them only.
            runner = ended.get(timeout=_WAIT_SECONDS)
        except queue.Empty:
            continue
        if runner.error is not None:
            return runner.error
        running -= 1
    return None


def _end(runners: Sequence[_Runner]) -> None:
    for runner in runners:
        runner.feed.stop()
    for runner in runners:
        if runner.thread.ident is not None:
            runner.thread.join()
