"""`Live`: a reporter that shows one refreshing screen while frames run, and lines before and after."""

from __future__ import annotations

import statistics
import threading
import time
from collections import deque
from contextlib import contextmanager
from typing import Any, Callable, Deque, Dict, Iterator, List, Mapping, Optional, Sequence, TextIO, Tuple

from legodnn.runtime.command.choosing import SecondsLimit, present
from legodnn.runtime.command.feed import Feed
from legodnn.runtime.command.live.glyphs import glyphs_for
from legodnn.runtime.command.live.screen import Screen
from legodnn.runtime.command.live.terminal import Terminal
from legodnn.runtime.command.live.view import NetworkView, View
from legodnn.runtime.command.report import Reporter, error_text, named
from legodnn.runtime.command.stopping import Stopping
from legodnn.runtime.controller import Budget

_REMEMBERED_DECISIONS = 50
"""Decisions the screen can show: more than the rows of most terminals; not tuned."""

_LAST_LINES = 20
"""Lines printed after the screen is left, so that answers to a few frames are not lost; not tuned."""

_RATE_SECONDS = 3.0
"""The window for frames per second; not tuned."""


class Live(Reporter):
    """Reports as text: while `showing`, on a screen, where the latest frame replaces the one before.

    Afterwards the last `_LAST_LINES` lines are printed.
    """

    def __init__(self, stream: TextIO, colours: bool) -> None:
        super().__init__(as_json=False)
        self._stream = stream
        self._screen = Screen(glyphs_for(stream.encoding or "ascii"), colours)
        self._terminal: Optional[Terminal] = None
        self._latest: Dict[Optional[str], str] = {}
        self._decisions: Deque[str] = deque(maxlen=_REMEMBERED_DECISIONS)
        self._lines: Deque[str] = deque(maxlen=_LAST_LINES)
        self._said = 0
        self._over = False
        self._noting = threading.Lock()

    @contextmanager
    def showing(
        self, subjects: "Sequence[Subject]", budget: Callable[[], Budget], stopping: Stopping
    ) -> Iterator[None]:
        """A context in which the screen shows these networks and the budget. Raises the errors of drawing."""
        started = time.monotonic()

        def draw(width: int, rows: int) -> List[str]:
            now = budget()
            view = View(
                networks=tuple(s.view(now, self._latest.get(s.feed.name, "")) for s in subjects),
                memory_limit=now.memory_bytes,
                slowdown=now.slowdown,
                seconds=time.monotonic() - started,
                decisions=tuple(self._decisions),
            )
            return self._screen.draw(view, width, rows)

        terminal = Terminal(self._stream, draw)
        try:
            with terminal as self._terminal:
                stopping.when_asked = terminal.leave
                try:
                    yield
                finally:
                    stopping.when_asked = None
        finally:
            if terminal.error is None:  # else the stream cannot be written
                with stopping.finishing():
                    self._print_last_lines()

    def say(self, kind: str, values: Mapping[str, Any], text: str, network: Optional[str] = None) -> None:
        """See `Reporter.say`. Raises the errors of drawing, as printing would."""
        if self._terminal is None:
            super().say(kind, values, text, network)
            return
        if self._terminal.error is not None:
            raise self._terminal.error
        if self._over:
            super().say(kind, values, text, network)
        elif text:
            with self._noting:
                self._lines.append(named(network, text))
                self._said += 1
            if kind == "frame":
                self._latest[network] = text
            else:
                self._note(named(network, text))

    def complain(self, text: str) -> None:
        """See `Reporter.complain`."""
        if self._terminal is not None and self._terminal.shown:
            self._note(text)
        else:
            super().complain(text)

    def _print_last_lines(self) -> None:
        self._over = True
        if self._said > len(self._lines):
            print(f"the last {len(self._lines)} of {self._said} lines (--plain prints all):", flush=True)
        for text in self._lines:
            print(text, flush=True)

    def _note(self, text: str) -> None:
        self._decisions.append(f"{time.strftime('%H:%M:%S')} {text}")


class Subject:
    """One network on the screen; ``limit`` returns the most seconds of an inference under a budget."""

    def __init__(self, title: str, feed: Feed, limit: SecondsLimit) -> None:
        self.feed = feed
        self._title, self._limit = title, limit
        self._counts: Deque[Tuple[float, int]] = deque()

    def view(self, budget: Budget, latest: str) -> NetworkView:
        """The network's current values."""
        network, choice = self.feed.network, present(self.feed.network)
        recent = network.recent_seconds()
        blocks = network.blocks
        return NetworkView(
            name=self._title,
            sparsities=tuple(block.variant(choice.selection[block.name]).sparsity for block in blocks),
            predicted_seconds=choice.seconds,
            measured_seconds=statistics.median(recent) if recent else None,
            seconds_limit=self._limit(budget),
            memory_bytes=choice.memory_bytes,
            metric=network.manifest.metric,
            accuracy=choice.accuracy,
            error=error_text(network.manifest, choice),
            frames=self.feed.frames,
            per_second=self._per_second(),
            dropped=self.feed.pace.dropped if self.feed.paced else None,
            latest=latest,
        )

    def _per_second(self) -> float:
        now = time.monotonic()
        self._counts.append((now, self.feed.frames))
        while len(self._counts) > 2 and now - self._counts[1][0] >= _RATE_SECONDS:
            self._counts.popleft()
        then, frames = self._counts[0]
        return (self.feed.frames - frames) / (now - then) if now > then else 0.0
