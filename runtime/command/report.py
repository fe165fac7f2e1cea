"""`Reporter`: the output of `legodnn-run`, as text or as one JSON object per line."""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import Any, Dict, List, Mapping, Optional, Sequence

from legodnn.runtime.controller import Event
from legodnn.runtime.controller.events import REASONS
from legodnn.runtime.device.latency_table import read_table
from legodnn.runtime.device.memory_table import read_memory_table
from legodnn.runtime.engine.compare import tensors
from legodnn.runtime.multi.choice import JointChoice
from legodnn.runtime.network import Network, SelfTestResult
from legodnn.runtime.optimizer import Choice
from legodnn.shared.bundle.manifest import Manifest, SelfTest, selection_text
from legodnn.shared.errors import InfeasibleBudget
from legodnn.shared.tasks.known import task_named
from legodnn.shared.tasks.prediction import error_note
from legodnn.shared.tasks.task import Meaning
from legodnn.shared.units import count, format_bytes, format_seconds, plus_minus, signed_points


class Reporter:
    """Prints messages, from any thread; every kind has a text and a JSON form."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self._saying = threading.Lock()

    def say(self, kind: str, values: Mapping[str, Any], text: str, network: Optional[str] = None) -> None:
        """Print a message, with the network's name where there are several; an empty text prints no line."""
        if self.as_json:
            about = {"network": network} if network is not None else {}
            line = json.dumps({"event": kind, **about, **values})
        else:
            line = "\n".join(named(network, part) for part in text.split("\n")) if text else ""
        if line:
            with self._saying:
                print(line, flush=True)

    def complain(self, text: str) -> None:
        """Print a line on stderr about an error that does not end the run."""
        print(text, file=sys.stderr, flush=True)


class Progress:
    """Progress of measuring ``what`` on stderr, with the time left, every 2 s after the first 2 s."""

    def __init__(self, what: str, network: Optional[str] = None) -> None:
        self._what, self._network = what, network
        self._started = time.monotonic()
        self._said = 0.0

    def __call__(self, done: int, total: int) -> None:
        """Report that ``done`` of ``total`` are measured."""
        elapsed = time.monotonic() - self._started
        if elapsed < 2 or (elapsed - self._said < 2 and done < total):
            return
        self._said = elapsed
        left = format_seconds(max(0.0, elapsed / done * (total - done))) if done < total else "0 s"
        text = named(self._network, f"{done}/{total} ({done / total:.0%}), {left} left")
        print(f"measuring {self._what}: {text}", file=sys.stderr, flush=True)


def named(network: Optional[str], text: str) -> str:
    """A text with the network's name; None where there is only one network."""
    return text if network is None else f"{network}: {text}"


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells, the heading first, in aligned columns."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)


def describe(network: Network, path: str) -> Dict[str, Any]:
    """A bundle's description as plain values, with the cached measurements of this device."""
    manifest = network.manifest
    return {
        "path": path,
        "digest": network.digest,
        "measured": _measured(network),
        "task": manifest.task,
        "metric": manifest.metric,
        "created_with": manifest.created_with,
        "input": manifest.input.to_plain(),
        "precision": manifest.precision,
        "weight_bytes": manifest.teacher_weight_bytes,
        "accuracy": manifest.predictor.teacher_accuracy,
        "prediction_error": {"mean": manifest.predictor.mean_error, "worst": manifest.predictor.worst_error},
        "judged": manifest.predictor.judged or None,
        "notes": list(manifest.notes),
        "blocks": [
            {
                "name": block.name,
                "layers": list(block.layers),
                "variants": [
                    {
                        "name": v.name,
                        "weight_bytes": v.weight_bytes,
                        "flops": v.flops,
                        "accuracy_loss": v.accuracy_loss,
                        "cost": v.cost,
                    }
                    for v in block.variants
                ],
            }
            for block in manifest.blocks
        ],
    }


def info_text(description: Mapping[str, Any]) -> str:
    """`describe` as text."""
    shape = "x".join(str(s) for s in description["input"]["shape"])
    judged = f", on {count(description['judged'], 'example')}" if description["judged"] else ""
    lines = [
        f"{description['path']}: {description['task']}, input {shape} {description['input']['dtype']}",
        f"teacher: {format_bytes(description['weight_bytes'])} of weights, {description['metric']} "
        f"{description['accuracy']:.2%}; "
        f"selections predicted to within {description['prediction_error']['mean']:.2%} on average{judged}",
        f"stored as {description['precision']}, written by LegoDNN {description['created_with'].get('legodnn', '?')} "
        f"with torch {description['created_with'].get('torch', '?')}",
        _measured_text(description["measured"]),
        "",
    ]
    rows = [["block", "variant", "weights", "MFLOP", "change alone", "layers"]]
    for block in description["blocks"]:
        for i, variant in enumerate(block["variants"]):
            rows.append(
                [
                    block["name"] if i == 0 else "",
                    variant["name"],
                    format_bytes(variant["weight_bytes"]),
                    f"{variant['flops'] / 1e6:.2f}",
                    f"{signed_points(-variant['accuracy_loss'])} points",
                    ", ".join(block["layers"]) if i == 0 else "",
                ]
            )
    return "\n".join([*lines, table(rows), *(f"note: {note}" for note in description["notes"])])


def _measured(network: Network) -> Dict[str, Any]:
    """The cached measurements of a network on this device: backend, tables, and their file."""
    backend = network.cache.get("way")
    latency = read_table(network.cache.get("latency"), network.manifest)
    memory = read_memory_table(network.cache.get("memory"), backend)
    return {
        "way": backend,
        "latency": latency.to_plain() if latency is not None else None,
        "memory": memory.to_plain() if memory is not None else None,
        "file": str(network.cache.path),
    }


def _measured_text(measured: Mapping[str, Any]) -> str:
    """`_measured` as text."""
    parts = [
        f"{what} to within {measured[name]['median_error']:.1%} (at worst {measured[name]['worst_error']:.1%})"
        for name, what in (("latency", "seconds predicted"), ("memory", "memory predicted"))
        if measured[name] is not None
    ]
    if not parts:
        return "not measured on this device yet"
    return f"measured on this device ({measured['way']}): {', '.join(parts)}; cached in {measured['file']}"


def self_test_values(results: Sequence[SelfTestResult], test: SelfTest) -> Dict[str, Any]:
    """The outcome of a self-test as plain values."""
    values: Dict[str, Any] = {
        "passed": all(r.passed for r in results),
        "samples": test.count,
        "form": "pixels" if test.pixels is not None else "tensors" if test.count else "none",
        "cases": [{"selection": dict(r.selection), "error": r.error, "passed": r.passed} for r in results],
    }
    judged = next((r for r in results if r.right is not None), None)
    return values if judged is None else {**values, "right": judged.right, "judged": judged.judged}


def self_test_text(values: Mapping[str, Any]) -> str:
    """`self_test_values` as text."""
    if not values["cases"]:
        return "self-test: the bundle carries no samples (bundle.samples = 0), so there is nothing to compare with"
    worst = max(case["error"] for case in values["cases"])
    text = f"self-test: {count(len(values['cases']), 'selection')}, largest relative error {worst:.1e}"
    if "judged" in values:
        text += f"; {values['right']} of {values['judged']} samples right"
    if values["form"] == "tensors":
        text += "; the samples are tensors, so that the reading of frames is not tested"
    return text


def choice_values(manifest: Manifest, choice: Choice) -> Dict[str, Any]:
    """A choice as plain values."""
    return {
        "metric": manifest.metric,
        "selection": choice.selection,
        "predicted_seconds": choice.seconds,
        "memory_bytes": choice.memory_bytes,
        "predicted_accuracy": choice.accuracy,
        "prediction_error": choice.accuracy_error,
    }


def choice_text(network: Network, choice: Choice) -> str:
    """A choice as text."""
    seconds = format_seconds(choice.seconds) if choice.seconds is not None else "not measured"
    return (
        f"chosen: sparsities in percent [{selection_text(network.manifest, choice.selection)}]\n"
        f"predicted: {seconds} per inference, {format_bytes(choice.memory_bytes)}, "
        f"{network.manifest.metric} {choice.accuracy:.2%} ({error_text(network.manifest, choice)})"
    )


def error_text(manifest: Manifest, choice: Choice) -> str:
    """The error to expect of a choice's accuracy, as text."""
    note = error_note(manifest.predictor, manifest.task, manifest.metric)
    return f"{plus_minus(choice.accuracy_error)}{note}"


def decision_text(event: Event, manifest: Optional[Manifest]) -> str:
    """A controller's decision as text, its result first; ``manifest`` of the network it is about, if any."""
    why = event.detail or REASONS[event.reason]
    if manifest is None or not event.switched or event.predicted is None:
        return f"{event.reason}: {why}"
    found = event.predicted
    seconds = f"{format_seconds(found.seconds)}, " if found.seconds is not None else ""
    return (
        f"{event.reason}: now [{selection_text(manifest, event.new)}], predicted {seconds}"
        f"{format_bytes(found.memory_bytes)}, {manifest.metric} {found.accuracy:.1%}; {why}"
    )


def joint_values(choice: JointChoice) -> Dict[str, Any]:
    """The needs of several networks together, as plain values."""
    return {"memory_bytes": choice.memory_bytes, "utilisation": choice.utilisation}


def joint_text(choice: JointChoice) -> str:
    """`joint_values` as text."""
    return f"together: {format_bytes(choice.memory_bytes)}, {choice.utilisation:.1%} of the cores' time"


def answer_results(manifest: Manifest, answer: Any) -> Dict[str, Any]:
    """The results for one frame by the network's application; for unknown ones the outputs' shapes and ranges."""
    outputs = tensors(answer)
    task = task_named(manifest.task)
    if task is not None and task.reads(outputs):
        return task.results(outputs, Meaning.of(manifest))
    return {"outputs": [{"shape": list(o.shape), "min": float(o.min()), "max": float(o.max())} for o in outputs]}


def answer_text(manifest: Manifest, results: Mapping[str, Any]) -> str:
    """`answer_results` as text."""
    task = task_named(manifest.task)
    if task is not None and "outputs" not in results:
        return task.text(results)
    outputs = results["outputs"]
    return "; ".join(f"{'x'.join(map(str, o['shape']))} in [{o['min']:.3g}, {o['max']:.3g}]" for o in outputs)


def offers(network: Network, optimizer: Any, steps: int = 7) -> List[Choice]:
    """The best choices for ``steps`` memory budgets, from the least achievable to the teacher's, each once."""
    least = optimizer.minimum_bytes()
    most = optimizer.choose().memory_bytes
    found: List[Choice] = []
    for i in range(steps):
        choice = _offer(optimizer, least + (most - least) * i / max(1, steps - 1))
        if choice is not None and all(choice.selection != other.selection for other in found):
            found.append(choice)
    return found


def _offer(optimizer: Any, budget: float) -> Optional[Choice]:
    try:
        choice: Choice = optimizer.choose(None, budget)
    except InfeasibleBudget:
        return None
    return choice


def offers_text(network: Network, choices: Sequence[Choice]) -> str:
    """The table of achievable selections."""
    rows = [["memory", "time", network.manifest.metric, "sparsities in percent, block by block"]]
    for choice in choices:
        rows.append(
            [
                format_bytes(choice.memory_bytes),
                format_seconds(choice.seconds) if choice.seconds is not None else "?",
                f"{choice.accuracy:.2%}",
                selection_text(network.manifest, choice.selection),
            ]
        )
    return table(rows)
