"""`Switcher`: makes new compositions beside the current one, and caches those used recently."""

from __future__ import annotations

import logging
import statistics
import threading
import time
from collections import OrderedDict
from concurrent.futures import Future
from typing import Callable, Dict, Iterable, List, Mapping, Optional, Tuple

from legodnn.runtime.device.memory_table import MemoryTable, needed_bytes, needed_together
from legodnn.runtime.engine import Composition
from legodnn.runtime.engine.workshop import Workshop
from legodnn.runtime.switching.background import Background, short_turns
from legodnn.shared.errors import CompositionError, OutOfMemory, UnusableVariant
from legodnn.shared.platform import trim_heap

Selection = Mapping[str, str]
Again = Callable[[], Selection]
"""Returns another selection, after a variant turned out to be unusable."""

INFERENCES_BETWEEN = 1200
"""Inferences waited for between two segments, of which each delays five or six: so one in 200 or so is late; fewer
where
`LONGEST_PAUSE` ends first."""

LONGEST_PAUSE = 1.0
"""Seconds between two segments, at most: bounds the time of a switch; not tuned."""

FEWEST_BETWEEN = 10
"""Inferences that must fit into `LONGEST_PAUSE` for a pause to be made: longer ones gain nothing by it, while the
switch
would take long. Not tuned."""

_LITTLE = 0.01
"""Share of the teacher's bytes that prefetched variants may always take: far below the error of memory predictions."""

_Key = Tuple[Tuple[str, str], ...]

logger = logging.getLogger("legodnn.switching")


class Switcher:
    """Holds the current composition, and switches to others.

    Inferences never wait: a switch is one assignment to ``current``. Compositions that ran before are cached within a
    limit of bytes for all of them together; the least recently used are evicted first.

    Args:
        workshop: makes compositions.
    """

    def __init__(self, workshop: Workshop) -> None:
        self.current: Optional[Composition] = None
        self.closed = False
        self.asked: "Optional[Future[Composition]]" = None
        self.memory: Optional[MemoryTable] = None
        """The measured memory table of this device; None where only the manifest's bytes are known."""
        self._workshop = workshop
        self._teacher_bytes = needed_bytes(workshop.manifest, workshop.manifest.original_selection)
        self._keep_within, self._bound = 2.0 * self._teacher_bytes, float("inf")
        self._kept: "OrderedDict[_Key, Composition]" = OrderedDict()
        self._switching = threading.RLock()  # held while a composition is made
        self._changing = threading.Lock()  # held briefly, while the cache changes
        self._background = Background("legodnn-switch")
        self._share_spare()

    # ---- switching --------------------------------------------------------------------------------------------------
    def switch(self, selection: Selection) -> Composition:
        """Switch to a selection and return its composition.

        Where this fails, the current composition stays and the error is raised. Raises also `CompositionError` after
        `close`.
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
        self._evict()
        return new

    def switch_later(self, selection: Selection, again: Optional[Again] = None) -> "Future[Composition]":
        """Request a switch in the background; it replaces a request that has not begun.

        ``again`` is called for another selection where a variant of this one turns out to be unusable.
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
        """A new composition; cached ones are evicted for it first."""
        self._evict([selection])
        with short_turns():
            try:
                return self._compose(selection)
            except OutOfMemory:
                if not self.release_kept():
                    raise
                return self._compose(selection)

    def _compose(self, selection: Selection) -> Composition:
        return self._workshop.compose(selection, between=self._yield_to_inference)

    def _yield_to_inference(self) -> None:
        """Pause between two segments of a composition made in the background, so that few inferences are late.

        While torch loads a segment it holds Python's interpreter lock, and delays the inferences that wait for it.
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

    # ---- the cache --------------------------------------------------------------------------------------------------
    @property
    def loaded(self) -> List[Dict[str, str]]:
        """The selections whose compositions are in memory; the current one, if there is one, is the last."""
        with self._changing:
            return [dict(c.selection) for c in self._kept.values()]

    @property
    def keep_within(self) -> float:
        """The cache limit in bytes for all compositions together, at first twice what the teacher needs.

        A lower limit evicts at once.
        """
        return self._keep_within

    @keep_within.setter
    def keep_within(self, limit: float) -> None:
        self._keep_within = limit
        self._evict()

    @property
    def spare(self) -> float:
        """Bytes of the limits that compositions leave; negative where they exceed them."""
        return min(self._keep_within, self._bound) - self._together(self.loaded)

    def _together(self, selections: Iterable[Selection]) -> int:
        """Bytes of the compositions of some selections in memory together."""
        return needed_together(self._workshop.manifest, selections, self.memory)

    def bound(self, limit: Optional[float]) -> None:
        """Set a second limit in bytes beside ``keep_within``; None for none."""
        before, self._bound = self._bound, float("inf") if limit is None else limit
        if self._bound != before:  # controllers set it in every iteration
            self._evict()

    def release_kept(self) -> bool:
        """Evict all compositions but the current one; returns whether there were any."""
        return self._drop(lambda kept: True)

    def _evict(self, coming: Iterable[Selection] = ()) -> None:
        """Evict the least recently used until the rest, and selections about to be composed, are within the limits."""
        limit, more = min(self._keep_within, self._bound), list(coming)
        self._drop(lambda kept: self._together([*(c.selection for c in kept), *more]) > limit)
        if not more:  # else variants that the new composition shares would be unloaded
            self._share_spare()

    def _share_spare(self) -> None:
        """Let variants stay loaded in the bytes that compositions leave of the limits, and always in `_LITTLE`.

        A network that exceeds its limit for a moment is about to switch, and then needs them.
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
            trim_heap()
            return True
        return False

    # ---- the end ----------------------------------------------------------------------------------------------------
    def close(self) -> None:
        """Refuse further switches, and return when the one in progress is done."""
        self.closed = True
        self._background.close()
        with self._switching:  # held by a switch in another thread
            return


def _key(selection: Selection) -> _Key:
    return tuple(sorted(selection.items()))
