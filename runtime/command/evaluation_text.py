"""An evaluation as text: its figures, those of each class, and who was taken for whom."""

from __future__ import annotations

from typing import Any, List, Mapping, Optional, Sequence

from legodnn.runtime.command.report import table
from legodnn.shared.tasks.task import Task
from legodnn.shared.units import format_seconds

_SHOWN = 5
"""Skipped examples that are named; --json names all."""

MOST_CLASSES = 20
"""The most classes that are all listed; of more, `WORST` are. A screen of 24 rows; not tuned."""

WORST = 10
"""Classes that are listed of many, the worst first. Not tuned."""

MOST_CONFUSED = 10
"""The most classes with a confusion matrix in text: what fits 80 columns."""


def evaluation_text(results: Mapping[str, Any], task: Task, error: str) -> str:
    """An evaluation of an application as text; ``error`` is that of predictions, as text."""
    median = format_seconds(results["median_seconds"])
    lines = [f"{results['examples']} examples of {results['data']}, median {median} per inference"]
    if results["threshold"] is not None:
        lines.append(f"class 1 where its probability is above {results['threshold']:g}")
    lines += [f"{name}: {_figure(name, value, results, error)}" for name, value in results["figures"].items()]
    lines += [
        f"predicted, {name}: {value:.2%} ({error})"
        for name, value in results["predicted"].items()
        if name not in results["figures"]
    ]
    if results["not_finite"]:
        lines.append(f"answers that are no numbers, and count as wrong: {results['not_finite']}")
    lines += _parts(results[task.parts], task) + _confused(results["confusion"], results[task.parts])
    lines += _named(results["skipped"], "skipped") + _named(results["remarks"], "remarks")
    return "\n".join(lines)


def _figure(name: str, value: float, results: Mapping[str, Any], error: str) -> str:
    parts = [f"{value:.2%}"]
    predicted: Optional[float] = results["predicted"].get(name)
    if predicted is not None:
        usual = "" if results["threshold"] in (None, 0.5) else " for a threshold of 0.5"
        parts.append(f"predicted {predicted:.2%}{usual} ({error})")
    if name in results["trivial"]:
        parts.append(f"chance level {results['trivial'][name]:.2%}")
    return "; ".join(parts)


def _parts(rows: Sequence[Mapping[str, Any]], task: Task) -> List[str]:
    """The figures of each class that occurs, or was found."""
    there = [row for row in rows if any(value is not None for value in row["figures"].values())]
    if not there:
        return []
    names = list(there[0]["figures"])
    heading = []
    if len(there) > MOST_CLASSES:
        known = [row for row in there if row["figures"][names[0]] is not None]
        shown = sorted(known, key=lambda row: float(row["figures"][names[0]]))[:WORST]
        heading = [f"the {len(shown)} of {len(there)} {task.parts} with the lowest {names[0]} (--json has all):"]
        there = shown
    cells = [[task.part, task.counted, *names]]
    for row in there:
        cells.append([_label(row, task.part), str(row["count"]), *(_share(row["figures"][name]) for name in names)])
    return [*heading, table(cells)]


def _confused(matrix: Optional[Sequence[Sequence[int]]], rows: Sequence[Mapping[str, Any]]) -> List[str]:
    if matrix is None or len(matrix) > MOST_CONFUSED:
        return []
    cells = [["taken for", *(str(number) for number in range(len(matrix)))]]
    cells += [[_numbered(row), *map(str, counts)] for row, counts in zip(rows, matrix)]
    return [table(cells)]


def _label(row: Mapping[str, Any], part: str) -> str:
    return str(row["label"]) if row["label"] != str(row[part]) else f"{part} {row[part]}"


def _numbered(row: Mapping[str, Any]) -> str:
    number = str(row["class"])
    return number if row["label"] == number else f"{number} {row['label']}"


def _share(value: Optional[float]) -> str:
    return "-" if value is None else f"{value:.2%}"


def _named(rows: Sequence[Mapping[str, str]], what: str) -> List[str]:
    if not rows:
        return []
    lines = [f"  {row['name']}: {row['reason']}" for row in rows[:_SHOWN]]
    more = [f"  and {len(rows) - _SHOWN} more; --json names all"] if len(rows) > _SHOWN else []
    return [f"{len(rows)} {what}:", *lines, *more]
