"""`SwitchPlan`: from one selection to another within a bound on memory, by several switches where one needs too much.

During a switch the old composition runs while the new one is made: in memory are the weights of both, shared variants
once, the activations of both, and temporary copies of the variant being loaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, List, Mapping, Optional, Sequence

from legodnn.runtime.device.memory_table import activation_bytes, lightest, weight_bytes
from legodnn.shared.bundle.manifest import Manifest, Variant

Selection = Mapping[str, str]

COPIES = 4
"""Copies of a variant's weights counted while it is loaded, beside the final ones: as read from the bundle, as an
archive,
and as torch loads it. Measured on x86: 1.5 to 3.4 times."""


@dataclass(frozen=True)
class SwitchPlan:
    """The selections to switch to in turn, and the peak of bytes meanwhile."""

    steps: List[Dict[str, str]]
    peak_bytes: int


class SwitchPlanner:
    """Finds switch plans between a bundle's selections.

    Args:
        manifest: the bundle's.
        count_activations: whether memory counts weights and activations, or weights alone.
    """

    def __init__(self, manifest: Manifest, count_activations: bool = True) -> None:
        self._manifest, self._count_activations = manifest, count_activations

    def find(self, old: Optional[Selection], new: Selection, limit: float) -> SwitchPlan:
        """A plan within ``limit`` bytes if there is one, else one that exceeds it little.

        ``old`` is None where nothing is in memory yet; the plan is then a single switch.
        """
        if old is None or dict(old) == dict(new):
            return SwitchPlan([dict(new)], self.bytes(old, new))
        more = max(1, min(v.weight_bytes for b in self._manifest.blocks for v in b.variants))
        steps = self._within(old, new, limit)
        limit = max(limit, weight_bytes(self._manifest, old))
        while steps is None:
            # Terminates: a single switch is within some limit.
            limit, more = limit + more, 2 * more
            steps = self._within(old, new, limit)
        peaks = [self.bytes(a, b) for a, b in zip([dict(old), *steps], steps)]
        return SwitchPlan(steps, max(peaks))

    def bytes(self, old: Optional[Selection], new: Selection) -> int:
        """The peak of bytes during one switch."""
        manifest = self._manifest
        there = manifest.chosen(old) if old is not None else [None for _ in manifest.segments]
        added = [v.weight_bytes for before, v in zip(there, manifest.chosen(new)) if v is not before]
        needed = sum(added) + COPIES * max(added, default=0)
        needed += weight_bytes(manifest, old) if old is not None else 0
        if self._count_activations:
            needed += sum(activation_bytes(manifest, s) for s in (old, new) if s is not None)
        return needed

    def _within(self, old: Selection, new: Selection, limit: float) -> Optional[List[Dict[str, str]]]:
        """Steps within the limit: direct, through each block's smaller variant, or through the smallest selection."""
        for stops in ([new], [self._smaller(old, new), new], [lightest(self._manifest), new]):
            steps = self._through(old, stops, limit)
            if steps is not None:
                return steps
        return None

    def _through(self, old: Selection, stops: Sequence[Selection], limit: float) -> Optional[List[Dict[str, str]]]:
        steps: List[Dict[str, str]] = []
        current = dict(old)
        for stop in stops:
            while current != dict(stop):
                step = self._largest_step(current, stop, limit)
                if step == current:
                    return None
                steps.append(step)
                current = step
        return steps

    def _largest_step(self, current: Dict[str, str], goal: Selection, limit: float) -> Dict[str, str]:
        """The selection with as many blocks changed to the goal's as fit, those first that free the most."""

        def added(block: str) -> int:
            return self._variant(block, goal).weight_bytes - self._variant(block, current).weight_bytes

        if self.bytes(current, goal) <= limit:  # changed one by one, activation peaks might exceed it
            return dict(goal)
        step = current
        for block in sorted((b for b in goal if goal[b] != current[b]), key=added):
            tried = {**step, block: goal[block]}
            if self.bytes(current, tried) <= limit:
                step = tried
        return step

    def _smaller(self, old: Selection, new: Selection) -> Dict[str, str]:
        sizes = {block: [self._variant(block, s).weight_bytes for s in (old, new)] for block in new}
        return {block: old[block] if before < after else new[block] for block, (before, after) in sizes.items()}

    def _variant(self, block: str, selection: Selection) -> Variant:
        return self._manifest.segment(block).variant(selection[block])
