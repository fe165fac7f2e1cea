"""Many selections of a profiled network: what they weigh, what they compute, how accurate they are."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise, product
from math import prod

from legodnn.builder.graph.resources import Resources
from legodnn.builder.profile import frontier
from legodnn.builder.profile.frontier import undominated
from legodnn.builder.profile.tables import Profile
from legodnn.shared.bundle.manifest import ORIGINAL

FEW = 1500
"""So many selections are all looked at; of more, `DRAWN` are drawn at random."""

DRAWN = 600

PRICES = 48
"""Sizes, and operations, at which the frontier is searched beside what is drawn."""

Key = tuple[str, ...]


@dataclass(frozen=True)
class Point:
    """A selection: bytes of all weights of its network, FLOPs of an inference, the accuracy predicted for it and,
    where it was measured, the accuracy it has."""

    selection: Mapping[str, str]
    weight_bytes: int
    flops: int
    predicted: float
    measured: float | None

    @property
    def accuracy(self) -> float:
        """The best that is known: measured, or else predicted."""
        return self.predicted if self.measured is None else self.measured


class Selections:
    """The selections of a profile. What is drawn at random is the same every time."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.blocks = list(profile.distortion)
        rows = [*profile.compositions, *profile.uniform]
        self._measured = {self.key(row["selection"]): float(row["accuracy"]) for row in rows}
        self._measured[(ORIGINAL,) * len(self.blocks)] = profile.teacher_accuracy

    def point(self, selection: Mapping[str, str]) -> Point:
        """A selection with its numbers."""
        chosen = [row[selection.get(segment, ORIGINAL)] for segment, row in self.profile.resources.items()]
        distortion = sum(self.profile.distortion[block][selection[block]] for block in self.blocks)
        return Point(
            selection,
            sum(c.weight_bytes for c in chosen),
            sum(c.flops for c in chosen),
            self.profile.predictor.accuracy(distortion),
            self._measured.get(self.key(selection)),
        )

    def key(self, selection: Mapping[str, str]) -> Key:
        """What tells selections apart."""
        return tuple(selection[block] for block in self.blocks)

    def kind(self, point: Point) -> str:
        """What a selection is to the reader: the ``teacher``, one of the ``uniform`` baseline, or of the ``frontier``.

        The smallest of the baseline is the smallest of all, and counts as the baseline's.
        """
        if point.selection == self.teacher.selection:
            return "teacher"
        return "uniform" if any(point.selection == p.selection for p in self.uniform) else "frontier"

    @property
    def count(self) -> int:
        """How many selections there are."""
        return prod(len(row) for row in self.profile.distortion.values())

    @cached_property
    def teacher(self) -> Point:
        """All blocks original."""
        return self.point(dict.fromkeys(self.blocks, ORIGINAL))

    @cached_property
    def uniform(self) -> list[Point]:
        """The same variant in every block, the smallest network first."""
        return _by_size(self.point(s) for s in frontier.uniform(self.profile.distortion))

    @cached_property
    def measured(self) -> list[Point]:
        """The compositions the predictor was fitted on, the smallest first."""
        return _by_size(self.point(row["selection"]) for row in self.profile.compositions)

    @cached_property
    def unseen(self) -> list[Point]:
        """Uniform selections that were measured and that the predictor was not fitted on."""
        fitted = {self.key(p.selection) for p in self.measured}
        return [p for p in self.uniform if p.measured is not None and self.key(p.selection) not in fitted]

    @cached_property
    def everywhere(self) -> list[Point]:
        """Selections all over what is possible: all of them, or some drawn so that small and large ones are there."""
        variants = [list(self.profile.distortion[block]) for block in self.blocks]
        if self.count <= FEW:
            return [self._of(key) for key in product(*variants)]
        generator = random.Random(0)
        drawn: dict[Key, None] = {}
        for _ in range(DRAWN):
            lean = generator.random()
            steps = [sum(generator.random() < lean for _ in row[1:]) for row in variants]
            drawn[tuple(row[step] for row, step in zip(variants, steps, strict=True))] = None
        return [self._of(key) for key in drawn]

    @cached_property
    def frontier(self) -> list[Point]:
        """For every size the selection with the best accuracy predicted, the smallest network first."""
        points = [*self.everywhere, *self._searched(lambda c: c.weight_bytes)]
        return undominated(points, lambda p: p.weight_bytes, lambda p: p.predicted)

    @cached_property
    def chosen(self) -> list[Point]:
        """The frontier and the measured compositions, each once, the smallest first."""
        return _by_size({self.key(p.selection): p for p in [*self.frontier, *self.measured]}.values())

    @cached_property
    def quickest(self) -> list[Point]:
        """The same with FLOPs in the place of sizes."""
        points = [*self.everywhere, *self._searched(lambda c: c.flops)]
        return undominated(points, lambda p: p.flops, lambda p: p.predicted)

    def _searched(self, measure: Callable[[Resources], int]) -> list[Point]:
        table = {b: {v: float(measure(c)) for v, c in self.profile.resources[b].items()} for b in self.blocks}
        found = [self.point(s) for s in frontier.frontier(self.profile.distortion, table, PRICES)]
        return [*found, *self.uniform, self.teacher]

    def _of(self, key: Key) -> Point:
        return self.point(dict(zip(self.blocks, key, strict=True)))

    def within(self, weight_bytes: float) -> Point | None:
        """The best selection that weighs no more; None where the smallest does."""
        fitting = [p for p in self.frontier if p.weight_bytes <= weight_bytes]
        return fitting[-1] if fitting else None

    def baseline(self, weight_bytes: float) -> float | None:
        """The accuracy of the uniform baseline at a size, between two of its networks along a line; None outside."""
        points = [*self.uniform, self.teacher]
        for left, right in pairwise(points):
            if left.weight_bytes <= weight_bytes <= right.weight_bytes:
                across = (weight_bytes - left.weight_bytes) / max(1, right.weight_bytes - left.weight_bytes)
                return left.accuracy + across * (right.accuracy - left.accuracy)
        return None


def _by_size(points: Iterable[Point]) -> list[Point]:
    return sorted(points, key=lambda p: p.weight_bytes)


def spread(points: Sequence[Point], count: int) -> list[Point]:
    """At most ``count`` of the points, evenly along their order, both ends included."""
    if len(points) <= count:
        return list(points)
    last = len(points) - 1
    return [points[round(i * last / max(1, count - 1))] for i in range(count)]
