"""The numbers in the tables of a report, where they are more than the build's own rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass

from legodnn.builder.distill.results import FAILED, Result
from legodnn.builder.graph.resources import Resources
from legodnn.builder.report.selections import Point, Selections
from legodnn.builder.report.summary import BuildSummary
from legodnn.builder.report.words import setting, short_variant
from legodnn.shared.bundle.manifest import ORIGINAL
from legodnn.shared.tasks.classification import IMAGES
from legodnn.shared.tasks.known import task_named
from legodnn.shared.tasks.task import Meaning, Part

SHARES = (0.8, 0.6, 0.4, 0.25)
"""Shares of the teacher's weights the reader is told the accuracy at."""

DARKEST = 0.05
"""The accuracy lost at which a cell of the heat map is darkest."""

HEAT = 0.6
"""How dark that is: text is still readable on it."""


@dataclass(frozen=True)
class Budget:
    """The best selection within a share of the teacher's weights, None where the smallest is larger, and the accuracy
    the uniform baseline has at its size, None where it has none there."""

    share: float
    best: Point | None
    baseline: float | None


def budget(land: Selections, share: float) -> Budget:
    """What is achievable at a share of the teacher's weights."""
    best = land.within(share * land.teacher.weight_bytes)
    return Budget(share, best, land.baseline(best.weight_bytes) if best is not None else None)


@dataclass(frozen=True)
class Cell:
    """A variant with all other blocks original: the accuracy lost, None where it was left out; how dark that is;
    what it moves and takes, and how it was trained, None where it was not."""

    result: Result | None
    loss: float | None = None
    heat: float = 0.0
    distortion: float = 0.0
    resources: Resources | None = None


@dataclass(frozen=True)
class Losses:
    """A heat map: the variants' short names, and a cell for each in the rows of the blocks."""

    variants: Sequence[str]
    rows: Mapping[str, Sequence[Cell]]


def losses(build: BuildSummary) -> Losses:
    """Accuracy lost and distortion of every variant."""
    distortion = build.profile.distortion
    variants = list(dict.fromkeys(v for row in distortion.values() for v in row if v != ORIGINAL))
    failed = {r.variant for r in build.results if r.method == FAILED}
    variants += sorted(failed - set(variants))
    results = {(r.block, r.variant): r for r in build.results}
    rows = {b: [_cell(build, b, v, results.get((b, v))) for v in variants] for b in distortion}
    return Losses([*map(short_variant, variants)], rows)


def how_made(result: Result) -> str:
    """By which step a descendant was made, or why it was left out."""
    if result.method == FAILED:
        return result.reason
    return f"{result.method}, error on the validation split {result.error:.3g}"


def _cell(build: BuildSummary, block: str, variant: str, result: Result | None) -> Cell:
    profile = build.profile
    loss = profile.accuracy_loss[block].get(variant)
    if loss is None:
        return Cell(result)
    heat = HEAT * math.sqrt(min(1.0, max(0.0, loss) / DARKEST))
    return Cell(result, loss, heat, profile.distortion[block][variant], profile.resources[block][variant])


@dataclass(frozen=True)
class TeacherTables:
    """The teacher's figures: rows of a name, a value and its chance level, None where it is not known; what its classes
    are called and counted in, rows of their label, count and ``names`` of figures; the rows of the confusion matrix,
    each with its label, None where there is none."""

    figures: Sequence[tuple[str, float, float | None]]
    part: str
    counted: str
    names: Sequence[str]
    parts: Sequence[tuple[str, int, Sequence[float | None]]]
    confusion: Sequence[tuple[str, Sequence[int]]] | None

    @property
    def has_chance(self) -> bool:
        """Whether any chance level is known."""
        return any(level is not None for _, _, level in self.figures)


def teacher(build: BuildSummary) -> TeacherTables:
    """The figures of the teacher: the manager's metric first, then its application's."""
    profile, task = build.profile, task_named(build.task) or IMAGES
    figures: list[tuple[str, float, float | None]] = [(build.metric, profile.teacher_accuracy, profile.chance_accuracy)]
    found = profile.judgement
    if found is None:
        return TeacherTables(figures, task.part, task.counted, (), (), None)
    figures += [(name, v, found.chance.get(name)) for name, v in found.figures.items() if name != build.metric]
    meaning = Meaning(build.recipe.bundle.labels)
    names = list(found.parts[0].figures) if found.parts else []
    parts = [(meaning.name(p.number), p.count, [p.figures[name] for name in names]) for p in found.parts if _seen(p)]
    confusion = None
    if found.confusion is not None:
        confusion = [(meaning.name(number), row) for number, row in enumerate(found.confusion)]
    return TeacherTables(figures, task.part, task.counted, names, parts, confusion)


def _seen(part: Part) -> bool:
    """Whether a class occurs, or was found."""
    return any(value is not None for value in part.figures.values())


def selections(build: BuildSummary, land: Selections) -> list[tuple[Point, float | None]]:
    """Every selection in the charts but those drawn at random, the smallest first, with its time."""
    seconds = {land.key(p.selection): s for p, s in build.seconds}
    points = {land.key(p.selection): p for p in [*land.chosen, *land.uniform, *build.timed, land.teacher]}
    by_size = sorted(points.items(), key=lambda pair: pair[1].weight_bytes)
    return [(point, seconds.get(key)) for key, point in by_size]


def settings(build: BuildSummary) -> list[tuple[str, str]]:
    """The recipe, every key with the value it had."""
    recipe = build.recipe
    found = []
    for part in fields(recipe):
        value = getattr(recipe, part.name)
        if is_dataclass(value) and part.name != "manager":
            found += [(f"{part.name}.{f.name}", setting(getattr(value, f.name))) for f in fields(value)]
        elif part.name != "folder":
            found.append((part.name, setting(value)))
    return found
