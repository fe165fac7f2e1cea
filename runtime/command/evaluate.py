"""`--evaluate`: a whole data set through what runs, and the application's figures."""

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
from legodnn.shared.units import format_seconds

_SHOWN = 5
"""How many examples are named that were left out."""


class Evaluation:
    """Judges a network on the data set at a path, example by example.

    Opens it at once, so that what is wrong with it shows before anything is measured: raises what `open_dataset`
    raises, and `DataError` for a network whose application is not known.
    """

    def __init__(self, network: Network, path: str, reporter: Reporter) -> None:
        self._network, self._path, self._reporter = network, path, reporter
        self._task = _task(network, path)
        self._dataset = open_dataset(self._task.name, path, network.input)
        self._meter, self._trivial = self._task.meter(), self._task.trivial()
        self._seconds: List[float] = []
        self._skipped = list(self._dataset.skipped)
        self._remarks: List[Skipped] = []

    def run(self, stopping: Stopping) -> None:
        """Run all examples and report. A signal ends it between two of them, and nothing is reported, for figures of a
        part would pass for those of the whole. Raises `DataError` where nothing can be judged."""
        progress = Progress("accuracy")
        examples = self._dataset.examples
        for done, example in enumerate(examples, 1):
            with stopping.finishing():
                self._take(example)
            if stopping.asked is not None:
                return
            progress(done, len(examples))
        facts = self._facts()
        self._reporter.say("evaluation", facts, evaluation_text(facts))

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
            self._trivial.add(loaded.truths)
        except DataError as error:
            raise DataError(f"{self._path}: {error}") from None

    def _facts(self) -> Dict[str, Any]:
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
            "trivial": self._trivial.figures(),
            "predicted": {self._network.manifest.metric: choice.accuracy},
            "prediction_error": choice.accuracy_error,
            "teacher": {self._network.manifest.metric: predictor.teacher_accuracy},
            "selection": choice.selection,
            "median_seconds": statistics.median(self._seconds),
            "skipped": [_row(item) for item in self._skipped],
            "remarks": [_row(item) for item in self._remarks],
        }


def evaluation_text(facts: Mapping[str, Any]) -> str:
    """An evaluation for people."""
    median = format_seconds(facts["median_seconds"])
    lines = [
        f"{facts['examples']} examples of {facts['data']}, median {median} per inference",
        *(f"{name}: {_figure(name, value, facts)}" for name, value in facts["figures"].items()),
    ]
    lines += [
        f"predicted, {name}: {value:.2%} (give or take {facts['prediction_error']:.2%})"
        for name, value in facts["predicted"].items()
        if name not in facts["figures"]
    ]
    lines += _named(facts["skipped"], "skipped") + _named(facts["remarks"], "remarks")
    return "\n".join(lines)


def _figure(name: str, value: float, facts: Mapping[str, Any]) -> str:
    parts = [f"{value:.2%}"]
    predicted: Optional[float] = facts["predicted"].get(name)
    if predicted is not None:
        parts.append(f"predicted {predicted:.2%} (give or take {facts['prediction_error']:.2%})")
    if name in facts["trivial"]:
        parts.append(f"{facts['trivial'][name]:.2%} without a look at the input")
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
