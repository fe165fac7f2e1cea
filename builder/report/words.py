"""Numbers and selections as a report writes them."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import Any

from legodnn.builder.graph.resources import Resources
from legodnn.builder.recipe.schema import Call
from legodnn.builder.report.selections import Point
from legodnn.builder.report.summary import BuildSummary
from legodnn.shared import units
from legodnn.shared.bundle.manifest import ORIGINAL
from legodnn.shared.tasks.prediction import error_note, is_share, prediction_error, standard_error
from legodnn.shared.units import count, format_bytes

MINUS = "\N{MINUS SIGN}"


def percent(share: float, digits: int = 2) -> str:
    """A fraction in percent."""
    return f"{100 * share:.{digits}f} %"


def points(share: float) -> str:
    """A size of a difference of fractions, in percentage points."""
    return f"{100 * share:.2f}"


def signed_points(share: float) -> str:
    """A difference of fractions in percentage points, with its sign, as the device writes it, but for the minus."""
    return units.signed_points(share).replace("-", MINUS)


def expected_error(build: BuildSummary, accuracy: float) -> str:
    """The error to expect of a predicted accuracy, in percentage points, and on which inputs it holds."""
    made = (build.profile.predictor, build.task, build.metric)
    return f"{points(prediction_error(*made, accuracy))}{error_note(*made)}"


def sampled(build: BuildSummary) -> str:
    """On how many inputs accuracies were measured, and what that means for others; empty where it is not known."""
    predictor = build.profile.predictor
    if not predictor.judged:
        return ""
    if not is_share(build.task, build.metric):
        return f"Measured on these {count(predictor.judged, 'input')}; on others it is another."
    error = points(standard_error(predictor.teacher_accuracy, predictor.judged))
    return f"Measured on {count(predictor.judged, 'input')}: of so many, it has a standard error of {error} points."


def large(number: int) -> str:
    """``12,345``, ``1.2 × 10^34``."""
    return f"{number:,}" if number < 10**9 else f"{number:.1e}".replace("e+", " × 10^")


def sizes(resources: Resources) -> str:
    """What a segment or one of its variants takes."""
    weights, flops = format_bytes(resources.weight_bytes), f"{resources.flops / 1e6:,.1f} MFLOP"
    return f"{count(resources.parameters, 'parameter')}, {weights}, {flops}"


def short_variant(name: str) -> str:
    """``0.6`` for ``sparsity=0.6``; other names as they are, the original as 0."""
    return "0" if name == ORIGINAL else name.removeprefix("sparsity=")


def selection_line(selection: Mapping[str, str]) -> str:
    """The variants of a selection, in the blocks' order: ``0 0.2 0.4``, and ``0 ×8`` for one that is there eight times
    in a row."""
    words = []
    for name, row in groupby(selection.values()):
        times = len(list(row))
        words.append(short_variant(name) if times == 1 else f"{short_variant(name)}\N{NO-BREAK SPACE}×{times}")
    return ", ".join(words)


def setting(value: Any) -> str:
    """The value of a recipe's key."""
    if isinstance(value, Call):
        given = [repr(a) for a in value.args] + [f"{k}={v!r}" for k, v in value.kwargs.items()]
        return f"{value.factory}({', '.join(given)})" if given else value.factory
    if value is None or value == ():
        return "not set"
    if isinstance(value, (tuple, list)):
        return ", ".join(map(setting, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def share_of(accuracy: float, teacher: Point) -> str:
    """An accuracy as a share of the teacher's."""
    return percent(accuracy / teacher.accuracy, 1) if teacher.accuracy else "-"
