"""`Mover`: makes a network switch, and bounds its cache by the memory budget."""

from __future__ import annotations

import time
import weakref
from typing import Callable, Mapping, Optional, Sequence

from legodnn.runtime.controller.switch_plan import SwitchPlan, SwitchPlanner
from legodnn.runtime.engine import Composition
from legodnn.runtime.network import Network
from legodnn.shared.errors import CompositionError

LONGEST_INFERENCE = 10.0
"""Seconds to wait for inferences in a replaced composition before a switch plan is given up; not tuned."""

Running = Callable[[], Optional[Composition]]
"""A weak reference to a composition: None once its last inference has ended."""


class Mover:
    """Switches a network.

    Args:
        network: the network; nothing else should switch it meanwhile.
        strict: whether switches themselves stay within the budget; then nothing is cached.
        count_activations: whether memory counts weights and activations, or weights alone.
    """

    def __init__(self, network: Network, strict: bool, count_activations: bool) -> None:
        self._network, self._strict = network, strict
        self._planner = SwitchPlanner(network.manifest, count_activations)
        self._usual = network.keep_within

    @property
    def runs(self) -> bool:
        """Whether a composition is in memory."""
        return bool(self._network.loaded)

    def keep_within(self, memory_bytes: Optional[float]) -> bool:
        """Bound all compositions together by the budget; returns whether cached ones were evicted."""
        network, before = self._network, len(self._network.loaded)
        if self._strict:
            network.keep_within = 0.0
        else:
            network.keep_within = self._usual if memory_bytes is None else min(self._usual, memory_bytes)
        return len(network.loaded) < before

    def plan(self, selection: Mapping[str, str], limit: float) -> SwitchPlan:
        """The switch plan to a selection within ``limit`` bytes, or else one that exceeds it little."""
        return self._planner.find(self._network.selection if self.runs else None, selection, limit)

    def go(self, steps: Sequence[Mapping[str, str]]) -> None:
        """Switch to one selection after the other; after an error the last successful one stays.

        Raises the errors of `Network.select`, and `CompositionError` where an inference holds a replaced composition
        longer than `LONGEST_INFERENCE`.
        """
        replaced: Optional[Running] = None
        running = weakref.ref(self._network.select(self._network.selection)) if len(steps) > 1 else None
        for step in steps:
            _wait_for_end(replaced)
            replaced, running = running, weakref.ref(self._network.select(step))

    def stop(self) -> None:
        """Restore the network's cache limit."""
        self._network.keep_within = self._usual


def _wait_for_end(composition: Optional[Running]) -> None:
    """Return once no inference uses a replaced composition. Raises `CompositionError` after `LONGEST_INFERENCE`."""
    patience = time.monotonic() + LONGEST_INFERENCE
    while composition is not None and composition() is not None:
        if time.monotonic() > patience:
            raise CompositionError(f"an inference begun before the switch has not ended within {LONGEST_INFERENCE:g} s")
        time.sleep(0.002)
