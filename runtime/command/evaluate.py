"""`--evaluate`: the application's metrics of the current selection on a data set."""

from __future__ import annotations

import statistics
import time
from typing import Any, Dict, List, Mapping, Optional, Sequence

from legodnn.runtime.command.choosing import present
from legodnn.runtime.command.report import Progress, Reporter
from legodnn.runtime.command.stopping import Stopping
from legodnn.runtime.engine.compare import tensors
from legodnn.runtime.network import Network
from legodnn.shared.datasets.dataset import Example, Loaded, Skipped
from legodnn.shared.datasets.opening import open_dataset
from legodnn.shared.errors import DataError, InputError
from legodnn.shared.tasks.known import TASKS, task_named
from legodnn.shared.tasks.task import Task
from legodnn.shared.units import format_seconds, plus_minus

_SHOWN = 5
"""Skipped examples that are named; --json names all."""


class Evaluation:
    """Evaluates a network on the data set at a path, example by example.

    The data set is opened at construction, so that errors show before anything is measured: raises the errors of
    `open_dataset`, and `DataError` for a network of an unknown application.
    """

    def __init__(self, network: Network, path: str, reporter: Reporter) -> None:
        self._network, self._path, self._reporter = network, path, reporter
        self._task = _task(network, path)
        self._dataset = open_dataset(self._task.name, path, network.input)
        self._meter, self._chance = self._task.meter(), self._task.chance()
        self._seconds: List[float] = []
        self._skipped = list(self._dataset.skipped)
        self._remarks: List[Skipped] = []

    def run(self, stopping: Stopping) -> None:
        """Run all examples and report. After a signal between two examples nothing is reported, since metrics of a part
        could be taken for those of the whole. Raises `DataError` where nothing can be evaluated."""
        progress = Progress(self._network.manifest.metric)
        examples = self._dataset.examples
        for done, example in enumerate(examples, 1):
            with stopping.finishing():
                self._take(example)
            if stopping.asked is not None:
                return
            progress(done, len(examples))
        results = self._results()
        self._reporter.say("evaluation", results, evaluation_text(results))

    def _take(self, example: Example) -> None:
        try:
            loaded = example.load()
        except InputError as error:
            self._skipped.append(self._dataset.without(example, error))
            return
        self._remarks += [Skipped(example.name, remark) for remark in loaded.remarks]
        self._judge(loaded)

    def _judge(self, loaded: Loaded) -> None:
        started = time.perf_counter()
        answer = self._network(loaded.inputs)
        self._seconds.append(time.perf_counter() - started)
        outputs = tensors(answer)
        if not self._task.reads(outputs):
            shapes = ", ".join("x".join(map(str, output.shape)) for output in outputs)
            raise DataError(f"{self._path}: the network's answers ({shapes}) are not those of {self._task.name}")
        try:
            self._meter.add(outputs, loaded.truths)
            self._chance.add(loaded.truths)
        except DataError as error:
            raise DataError(f"{self._path}: {error}") from None

    def _results(self) -> Dict[str, Any]:
        if not self._seconds:
            first = self._skipped[0]
            raise DataError(
                f"{self._path}: none of {len(self._dataset.examples)} examples could be used, "
                f"the first: {first.name}: {first.reason}"
            )
        try:
            figures = self._meter.figures()
        except DataError as error:
            raise DataError(f"{self._path}: {error}") from None
        choice, predictor = present(self._network), self._network.manifest.predictor
        return {
            "data": self._path,
            "task": self._task.name,
            "examples": len(self._seconds),
            "figures": figures,
            "trivial": self._chance.figures(),
            "predicted": {self._network.manifest.metric: choice.accuracy},
            "prediction_error": choice.accuracy_error,
            "teacher": {self._network.manifest.metric: predictor.teacher_accuracy},
            "selection": choice.selection,
            "median_seconds": statistics.median(self._seconds),
            "skipped": [_row(item) for item in self._skipped],
            "remarks": [_row(item) for item in self._remarks],
        }


def evaluation_text(results: Mapping[str, Any]) -> str:
    """An evaluation as text."""
    median = format_seconds(results["median_seconds"])
    lines = [
        f"{results['examples']} examples of {results['data']}, median {median} per inference",
        *(f"{name}: {_figure(name, value, results)}" for name, value in results["figures"].items()),
    ]
    lines += [
        f"predicted, {name}: {value:.2%} ({plus_minus(results['prediction_error'])})"
        for name, value in results["predicted"].items()
        if name not in results["figures"]
    ]
    lines += _named(results["skipped"], "skipped") + _named(results["remarks"], "remarks")
    return "\n".join(lines)


def _figure(name: str, value: float, results: Mapping[str, Any]) -> str:
    parts = [f"{value:.2%}"]
    predicted: Optional[float] = results["predicted"].get(name)
    if predicted is not None:
        parts.append(f"predicted {predicted:.2%} ({plus_minus(results['prediction_error'])})")
    if name in results["trivial"]:
        parts.append(f"chance level {results['trivial'][name]:.2%}")
    return "; ".join(parts)


def _named(rows: Sequence[Mapping[str, str]], what: str) -> List[str]:
    if not rows:
        return []
    lines = [f"  {row['name']}: {row['reason']}" for row in rows[:_SHOWN]]
    more = [f"  and {len(rows) - _SHOWN} more; --json names all"] if len(rows) > _SHOWN else []
    return [f"{len(rows)} {what}:", *lines, *more]


def _row(item: Skipped) -> Dict[str, str]:
    return {"name": item.name, "reason": item.reason}


def _task(network: Network, path: str) -> Task:
    manifest = network.manifest
    task = task_named(manifest.task)
    if task is None:
        raise DataError(f"{path}: this bundle is for '{manifest.task}'; what can be evaluated is {', '.join(TASKS)}")
    if len(manifest.network_inputs) != 1:
        raise DataError(f"{path}: this network takes {len(manifest.network_inputs)} inputs at once, data sets give one")
    return task
