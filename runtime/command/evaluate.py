"""`--evaluate`: the application's metrics of the current selection on a data set."""

from __future__ import annotations

import statistics
import time
from typing import Any, Dict, List, Optional

from legodnn.runtime.command.choosing import present
from legodnn.runtime.command.evaluation_text import evaluation_text
from legodnn.runtime.command.report import Progress, Reporter, error_text
from legodnn.runtime.command.stopping import Stopping
from legodnn.runtime.engine.compare import tensors
from legodnn.runtime.network import Network
from legodnn.shared.datasets.dataset import Example, Loaded, Skipped
from legodnn.shared.datasets.opening import open_dataset
from legodnn.shared.errors import DataError, InputError, UsageError
from legodnn.shared.tasks.classification import Classification
from legodnn.shared.tasks.judgement import Judgement
from legodnn.shared.tasks.known import TASKS, task_named
from legodnn.shared.tasks.task import Meaning, Meter, Task


class Evaluation:
    """Evaluates a network on the data set at a path, example by example.

    ``threshold`` is that of the probability of class 1 of two. The data set is opened at construction, so that errors
    show before anything is measured: raises the errors of `open_dataset`, `DataError` for a network of an unknown
    application, `UsageError` for a threshold that does not fit it.
    """

    def __init__(self, network: Network, path: str, reporter: Reporter, threshold: Optional[float] = None) -> None:
        self._network, self._path, self._reporter = network, path, reporter
        self._task = _task(network, path)
        self._threshold = threshold
        self._meter, self._chance = _meter(network, self._task, threshold), self._task.chance()
        self._dataset = open_dataset(self._task.name, path, network.input)
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
        error = error_text(self._network.manifest, present(self._network))
        self._reporter.say("evaluation", results, evaluation_text(results, self._task, error))

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
            found = Judgement.of(self._meter, self._chance)
        except DataError as error:
            raise DataError(f"{self._path}: {error}") from None
        choice, predictor = present(self._network), self._network.manifest.predictor
        return {
            "data": self._path,
            "task": self._task.name,
            "examples": len(self._seconds),
            "figures": found.figures,
            "trivial": found.chance,
            self._task.parts: found.parts_plain(self._task.part, Meaning.of(self._network.manifest)),
            "confusion": found.confusion,
            "not_finite": found.lost,
            "threshold": self._threshold,
            "predicted": {self._network.manifest.metric: choice.accuracy},
            "prediction_error": choice.accuracy_error,
            "teacher": {self._network.manifest.metric: predictor.teacher_accuracy},
            "selection": choice.selection,
            "median_seconds": statistics.median(self._seconds),
            "skipped": [_row(item) for item in self._skipped],
            "remarks": [_row(item) for item in self._remarks],
        }


def _meter(network: Network, task: Task, threshold: Optional[float]) -> Meter:
    """The application's meter. Raises `UsageError` for a threshold where there are no two classes."""
    if threshold is None:
        return task.meter()
    shapes = [spec.shape for spec in network.manifest.self_test.output_specs]
    if not isinstance(task, Classification) or (shapes and shapes[0][1:] != (2,)):
        of = f"{shapes[0][-1]} classes" if isinstance(task, Classification) else task.name
        raise UsageError(f"--threshold is for two classes, this network is for {of}")
    return task.meter(threshold)


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
