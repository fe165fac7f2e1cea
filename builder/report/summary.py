"""What a report is made from: the results of a build, and the network as the reader is shown it."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torchvision

from legodnn.builder.blocks import AutoBlockManager
from legodnn.builder.distill.results import Result
from legodnn.builder.graph.resources import Resources
from legodnn.builder.plan.plan import Plan
from legodnn.builder.profile.tables import Profile
from legodnn.builder.recipe.schema import Recipe
from legodnn.builder.report.seconds import Timing
from legodnn.builder.report.selections import Point, Selections, spread
from legodnn.builder.workdir.clock import StageTime
from legodnn.shared.bundle.manifest import ORIGINAL
from legodnn.shared.console import version

TIMED = 8
"""Selections timed of the compositions that were measured, and as many of those quickest for their accuracy."""


@dataclass(frozen=True)
class SegmentSummary:
    """A segment: its layers, the numbers of the segments it reads (-1 for the network's input), what the original
    resources and the bytes of its smallest variant."""

    name: str
    is_block: bool
    layers: Sequence[str]
    reads: Sequence[int]
    resources: Resources
    smallest_bytes: int


@dataclass(frozen=True)
class BuildSummary:
    """Everything a report tells. ``timed`` are the selections that ``timing`` has the seconds of; where nothing was to
    be timed there are none, and ``timing`` is None. ``notes`` are the bundle's own remarks."""

    recipe: Recipe
    task: str
    metric: str
    plan: Plan
    segments: Sequence[SegmentSummary]
    results: Sequence[Result]
    profile: Profile
    timed: Sequence[Point]
    timing: Timing | None
    stages: Sequence[StageTime]
    bundle_name: str
    bundle_bytes: int
    device: str
    seed: int
    versions: dict[str, str]
    notes: Sequence[str] = ()

    @property
    def seconds(self) -> list[tuple[Point, float]]:
        """The selections that have a time, with it."""
        found = zip(self.timed, self.timing.seconds, strict=True) if self.timing else ()
        return [(point, seconds) for point, seconds in found if seconds is not None]


def selections_to_time(profile: Profile) -> list[Point]:
    """The teacher, the uniform baseline, and selections that are on a frontier: a modest number, each once."""
    land = Selections(profile)
    wanted = [land.teacher, *land.uniform, *spread(land.measured, TIMED), *spread(land.quickest, TIMED)]
    return list({tuple(p.selection.items()): p for p in wanted}.values())


def segment_summaries(blocks: AutoBlockManager, profile: Profile) -> list[SegmentSummary]:
    """The segments of a network in the order in which they run."""
    makers = {node: i for i, s in enumerate(blocks.graph.segments) for node in s.outputs}
    found = []
    for segment in blocks.graph.segments:
        row = profile.resources[segment.name]
        found.append(
            SegmentSummary(
                segment.name,
                segment.is_block,
                blocks.layers(segment.name),
                sorted({makers.get(node, -1) for node in segment.inputs}),
                row[ORIGINAL],
                min(resources.weight_bytes for resources in row.values()),
            )
        )
    return found


def versions() -> dict[str, str]:
    """What the bundle was made with."""
    return {
        "legodnn": version(),
        "torch": str(torch.__version__),
        "torchvision": str(torchvision.__version__),
        "numpy": np.__version__,
        "Python": platform.python_version(),
    }
