"""Changing what runs: new compositions are made beside the running one, and those recently used are kept."""

from __future__ import annotations

import logging
import statistics
import threading
import time
from collections import OrderedDict
from concurrent.futures import Future
from typing import Callable, Dict, Iterable, List, Mapping, Optional, Tuple

from legodnn.runtime.device.allocator import trim
from legodnn.runtime.device.memory_table import MemoryTable, needed_bytes, needed_together
from legodnn.runtime.engine import Composition
from legodnn.runtime.engine.workshop import Workshop
from legodnn.runtime.switching.background import Background, short_turns
from legodnn.shared.errors import CompositionError, OutOfMemory, UnusableVariant

Selection = Mapping[str, str]
Again = Callable[[], Selection]
"""What to switch to instead, after a variant turned out to be unusable."""

INFERENCES_BETWEEN = 1200
"""Inferences let through between two segments, of which each delays five or six, or fewer where they take longer."""

LONGEST_PAUSE = 1.0
"""Seconds between two segments at most."""

FEWEST_BETWEEN = 10
"""Inferences. Those so long that fewer fit into a pause are not helped by it, and the switch would take long."""

_LITTLE = 0.01
"""The share of what the teacher needs that variants may take in memory to stay loaded, whatever else there is: far less
than predictions of memory are off by."""

_Key = Tuple[Tuple[str, str], ...]

logger = logging.getLogger("legodnn.switching")


class Switcher:
    """Holds the composition that runs, and puts others in its place.

    Whoever runs ``current`` never waits: a switch is one assignment. Compositions that ran before are kept for the way
    back while all of them together need no more than the limit; those used longest ago go first.

    Args:
        workshop: makes compositions.
    """

    def __init__(self, workshop: Workshop) -> None:
        self.current: Optional[Composition] = None
        self.closed = False
        self.asked: "Optional[Future[Composition]]" = None
        self.memory: Optional[MemoryTable] = None
        """What selections come to in memory on this device; None where that is known by the bundle's tables alone."""
        self._workshop = workshop
        self._teacher_bytes = needed_bytes(workshop.manifest, workshop.manifest.original_selection)
        self._keep_within, self._bound = 2.0 * self._teacher_bytes, float("inf")
        self._kept: "OrderedDict[_Key, Composition]" = OrderedDict()
        self._switching = threading.RLock()  # held while a composition is made
        self._changing = threading.Lock()  # held for moments, while what is kept changes
        self._background = Background("legodnn-switch")
        self._let_stay_loaded()

    # ---- switching --------------------------------------------------------------------------------------------------
    def switch(self, selection: Selection) -> Composition:
        """Make a selection the one that runs, and return its composition once it does.

        Where anything fails, what ran before runs on, and the failure is raised.
        """
        key = _key(selection)
        with self._switching:
            if self.closed:
                raise CompositionError("the network was closed; open it again")
            if self.current is not None and key == _key(self.current.selection):
                return self.current
            new = self._kept.get(key) or self._made(selection)
            with self._changing:
                new.recent.clear()
                self.current = self._kept[key] = new
                self._kept.move_to_end(key)
        self._let_go()
        return new

    def switch_later(self, selection: Selection, again: Optional[Again] = None) -> "Future[Composition]":
        """Ask for a switch that is made in the background; a request that has not begun yet is dropped for this one.

        ``again`` is asked for another selection where a variant of this one turns out to be unusable.
        """
        if self.closed:
            raise CompositionError("the network was closed; open it again")
        self.asked = self._background.submit(lambda: self._switch_later(selection, again))
        return self.asked

    def _switch_later(self, selection: Selection, again: Optional[Again]) -> Composition:
        while True:
            try:
                return self.switch(selection)
            except UnusableVariant as error:
                if again is None:
                    logger.warning("a switch in the background failed: %s", error)
                    raise
                selection = again()
            except Exception as error:
                logger.warning("a switch in the background failed: %s: %s", type(error).__name__, error)
                raise

    def _made(self, selection: Selection) -> Composition:
        """A new composition; what is kept makes room for it first."""
        self._let_go([selection])
        with short_turns():
            try:
                return self._compose(selection)
            except OutOfMemory:
                if not self.release_kept():
                    raise
                return self._compose(selection)

    def _compose(self, selection: Selection) -> Composition:
        return self._workshop.compose(selection, between=self._make_way)

    def _make_way(self) -> None:
        """Let inferences through, between two segments of a composition that is made in the background.

        While torch loads a segment, no other thread gets Python's interpreter: the inference that waits for it is late.
        There must be many that are not.
        """
        current = self.current
        before = list(current.recent) if current is not None else []
        if current is None or not before or not self._background.is_current:
            return
        usual = statistics.median(before)
        if FEWEST_BETWEEN * usual > LONGEST_PAUSE:
            return
        time.sleep(3 * usual)
        if list(current.recent) != before:  # inferences are running
            time.sleep(min(INFERENCES_BETWEEN * usual, LONGEST_PAUSE))

    # ---- what is kept -----------------------------------------------------------------------------------------------
    @property
    def loaded(self) -> List[Dict[str, str]]:
        """The selections whose compositions are in memory; the one that runs, if there is one, is the last."""
        with self._changing:
            return [dict(c.selection) for c in self._kept.values()]

    @property
    def keep_within(self) -> float:
        """Bytes that all compositions together may need, at first twice what the teacher needs.

        What is above a new limit goes at once.
        """
        return self._keep_within

    @keep_within.setter
    def keep_within(self, limit: float) -> None:
        self._keep_within = limit
        self._let_go()

    @property
    def spare(self) -> float:
        """Bytes that compositions leave of the limits; negative where they are over them."""
        return min(self._keep_within, self._bound) - self._together(self.loaded)

    def _together(self, selections: Iterable[Selection]) -> int:
        """Bytes that compositions of some selections need when they are there at once."""
        return needed_together(self._workshop.manifest, selections, self.memory)

    def bound(self, limit: Optional[float]) -> None:
        """A further limit, which holds beside ``keep_within``; None for none."""
        before, self._bound = self._bound, float("inf") if limit is None else limit
        if self._bound != before:  # controllers set it at each look
            self._let_go()

    def release_kept(self) -> bool:
        """Let go of all compositions but the one that runs; whether there were any."""
        return self._drop(lambda kept: True)

    def _let_go(self, coming: Iterable[Selection] = ()) -> None:
        """Let go of what was used longest ago until the rest, and what is coming, are within the limits."""
        limit, more = min(self._keep_within, self._bound), list(coming)
        self._drop(lambda kept: self._together([*(c.selection for c in kept), *more]) > limit)
        if not more:  # while a composition is made, what it is made of had better stay
            self._let_stay_loaded()

    def _let_stay_loaded(self) -> None:
        """Variants stay loaded in what compositions leave of the limit, and always in very little.

        What is over its limit for a moment is about to switch, and then needs them.
        """
        little = _LITTLE * self._teacher_bytes if self._keep_within > 0 else 0.0
        self._workshop.keep_loaded(max(self.spare, little))

    def _drop(self, too_much: "Callable[[Iterable[Composition]], bool]") -> bool:
        dropped = []
        with self._changing:
            others = [key for key, c in self._kept.items() if c is not self.current]
            while others and too_much(self._kept.values()):
                dropped.append(self._kept.pop(others.pop(0)))
        if dropped:
            dropped.clear()
            trim()
            return True
        return False

    # ---- the end ----------------------------------------------------------------------------------------------------
    def close(self) -> None:
        """Begin no more switches, and return when the one that is being made has come to its end."""
        self.closed = True
        self._background.close()
        with self._switching:  # held by whoever makes one in a thread of their own
            return


def _key(selection: Selection) -> _Key:
    return tuple(sorted(selection.items()))
