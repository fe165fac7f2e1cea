"""`Mover`: makes a network switch, and keeps what it holds for the way back within the memory there is."""

from __future__ import annotations

import time
import weakref
from typing import Callable, Mapping, Optional, Sequence

from legodnn.runtime.controller.switch_plan import Passage, Passages
from legodnn.runtime.engine import Composition
from legodnn.runtime.network import Network
from legodnn.shared.errors import CompositionError

LONGEST_INFERENCE = 10.0
"""Seconds that a replaced composition may go on before a passage is given up."""

Running = Callable[[], Optional[Composition]]
"""A weak reference to a composition: None once nobody is inside it any more."""


class Mover:
    """Switches a network.

    Args:
        network: the network. Nothing else should make it switch meanwhile.
        strict: memory must be enough for a switch while it is made, too; nothing is kept for the way back then.
        count_activations: whether memory means weights and activations, or weights alone.
    """

    def __init__(self, network: Network, strict: bool, count_activations: bool) -> None:
        self._network, self._strict = network, strict
        self._passages = Passages(network.manifest, count_activations)
        self._usual = network.keep_within

    @property
    def runs(self) -> bool:
        """Whether a composition is in memory."""
        return bool(self._network.loaded)

    def keep_within(self, memory_bytes: Optional[float]) -> bool:
        """Let all compositions together take no more than this; whether that made the network let go of some."""
        network, before = self._network, len(self._network.loaded)
        if self._strict:
            network.keep_within = 0.0
        else:
            network.keep_within = self._usual if memory_bytes is None else min(self._usual, memory_bytes)
        return len(network.loaded) < before

    def passage(self, selection: Mapping[str, str], limit: float) -> Passage:
        """The way to a selection that needs at most ``limit`` bytes, or, where there is none, little more."""
        return self._passages.find(self._network.selection if self.runs else None, selection, limit)

    def go(self, steps: Sequence[Mapping[str, str]]) -> None:
        """Switch to one selection after the other; where that fails, the last that could be switched to stays.

        Raises what `Network.select` raises, and `CompositionError` where an inference keeps a replaced composition for
        so long that the next must not be made.
        """
        replaced: Optional[Running] = None
        running = weakref.ref(self._network.select(self._network.selection)) if len(steps) > 1 else None
        for step in steps:
            _wait_for_end(replaced)
            replaced, running = running, weakref.ref(self._network.select(step))

    def stop(self) -> None:
        """Let the network keep what it kept before."""
        self._network.keep_within = self._usual


def _wait_for_end(composition: Optional[Running]) -> None:
    """Return once nobody is inside a replaced composition any more."""
    patience = time.monotonic() + LONGEST_INFERENCE
    while composition is not None and composition() is not None:
        if time.monotonic() > patience:
            raise CompositionError(f"an inference begun before the switch has not ended within {LONGEST_INFERENCE:g} s")
        time.sleep(0.002)
