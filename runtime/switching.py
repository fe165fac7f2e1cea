"""Changing what runs: new compositions are made beside the running one, and those recently used are kept."""

from __future__ import annotations

import threading
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Callable, Mapping, Optional, Tuple

from legodnn.runtime.composition import Composition
from legodnn.runtime.memory import give_back, needed_bytes, needed_together
from legodnn.shared.tables import Manifest

Selection = Mapping[str, str]
Compose = Callable[[Selection], Composition]


class Switcher:
    """Holds the composition that runs, and puts others in its place.

    Whoever runs ``current`` never waits: a switch is one assignment. ``compose`` makes a composition; it is called by
    one thread at a time. Compositions that ran before are kept for the way back while all of them together need no
    more than ``keep_within`` bytes, at first twice what the teacher needs.
    """

    def __init__(self, manifest: Manifest, compose: Compose) -> None:
        self.current: Optional[Composition] = None
        self.keep_within: float = 2.0 * needed_bytes(manifest, manifest.original_selection)
        self._manifest = manifest
        self._compose = compose
        self._kept: "OrderedDict[Tuple[Tuple[str, str], ...], Composition]" = OrderedDict()
        self._switching = threading.Lock()
        self._asking = threading.Lock()
        self._worker: Optional[ThreadPoolExecutor] = None
        self._asked: "Optional[Future[Composition]]" = None

    def switch(self, selection: Selection) -> Composition:
        """Make a selection the one that runs, and return its composition once it does.

        Where anything fails, what ran before runs on, and the failure is raised.
        """
        with self._switching:
            if self.current is not None and dict(selection) == dict(self.current.selection):
                return self.current
            key = tuple(sorted(selection.items()))
            new = self._kept.pop(key, None) or self._compose(selection)
            new.recent.clear()
            self.current = self._kept[key] = new
            dropped = self._drop()
        if dropped:
            give_back()
        return new

    def switch_later(self, selection: Selection) -> "Future[Composition]":
        """Ask for a switch that is made in the background; a request that has not begun yet is dropped for this one."""
        with self._asking:
            if self._asked is not None:
                self._asked.cancel()
            if self._worker is None:
                self._worker = ThreadPoolExecutor(1, thread_name_prefix="legodnn-switch")
            self._asked = self._worker.submit(self.switch, selection)
            return self._asked

    def release_kept(self) -> None:
        """Let go of all compositions but the one that runs."""
        with self._switching:
            self._kept = OrderedDict((key, c) for key, c in self._kept.items() if c is self.current)
        give_back()

    def close(self) -> None:
        """Finish the switch that is being made; later ones are not begun."""
        with self._asking:
            if self._worker is not None:
                if self._asked is not None:
                    self._asked.cancel()
                self._worker.shutdown()
                self._worker = None

    def _drop(self) -> bool:
        """Forget the compositions used longest ago until the others fit; whether there were any."""
        before = len(self._kept)
        while len(self._kept) > 1 and self._together() > self.keep_within:
            self._kept.popitem(last=False)
        return len(self._kept) < before

    def _together(self) -> int:
        return needed_together(self._manifest, [c.selection for c in self._kept.values()])
