"""Run a bundle of Fashion-MNIST under several budgets with `legodnn-run` and print what came out."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from legodnn.builder.zoo.common import fashion_mnist
from legodnn.runtime import Network
from legodnn.runtime.command.report import table
from legodnn.runtime.profiling.memory import profile_memory
from legodnn.shared.bundle.tensors import tensor_to_bytes
from legodnn.shared.files import atomic_write
from legodnn.shared.units import format_bytes, format_seconds

FIRST, LAST = 2000, 4000
"""Test images the budgets are judged on; the builder's profile looks at those before `FIRST` only."""

MEMORY_STEPS = (0.15, 0.35, 0.6, 0.85)
TIME_STEPS = (0.25, 0.6)
"""Budgets, as shares of the range from the least achievable to what the teacher needs."""

HEADING = (
    ("budget", "sparsities in percent", "time", "", "memory", "", "accuracy", ""),
    ("", "block by block", "predicted", "measured", "predicted", "measured", "predicted", "measured"),
)


def run(command: str, bundle: str, *options: str) -> list[dict[str, Any]]:
    """The events `legodnn-run` reports."""
    result = subprocess.run([command, bundle, "--json", *options], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        sys.exit(result.stderr.strip())
    return [json.loads(line) for line in result.stdout.splitlines()]


def event(events: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """The one event of a name."""
    return next(e for e in events if e["event"] == name)


def budgets(offers: list[dict[str, Any]]) -> list[list[str]]:
    """Options for `legodnn-run`: none, memory, time, and both at once."""

    def between(key: str, share: float) -> float:
        values = [offer[key] for offer in offers]
        return min(values) + share * (max(values) - min(values))

    memory = [["--memory", f"{between('memory_bytes', s) / 2**20:.2f}MiB"] for s in MEMORY_STEPS]
    time = [["--time", f"{between('predicted_seconds', s) * 1e3:.3f}ms"] for s in TIME_STEPS]
    return [[], *memory, *time, [*memory[1], *time[-1]]]


def main(bundle: str, command: str, unseen: str) -> None:
    """Write the unseen images as frames, run every budget on them, print the table."""
    images, labels = fashion_mnist.images("test", FIRST, LAST)
    if not Path(unseen).exists():
        atomic_write(unseen, tensor_to_bytes(images))
    offers = event(run(command, bundle, "--frames", "1"), "offers")["offers"]
    rows: list[tuple[str, ...]] = [*HEADING]
    with Network.open(bundle) as network:
        backend, batch = network.find_way(), network.batch
    for budget in budgets(offers):
        events = run(command, bundle, *budget, "--input", unseen)
        choice, summary = event(events, "choice"), event(events, "summary")
        answers = [e["class"] for e in events if e["event"] == "frame"]
        right = sum(int(a == b) for a, b in zip(answers, labels.tolist(), strict=True))
        profile = profile_memory(Path(bundle), backend, choice["selection"], batch)
        percents = [f"{100 * float(v.partition('=')[2] or 0):.0f}" for v in choice["selection"].values()]
        rows.append(
            (
                " ".join(value for value in budget if not value.startswith("--")) or "none",
                " ".join(percents),
                format_seconds(choice["predicted_seconds"]),
                format_seconds(summary["median_seconds"]),
                format_bytes(choice["memory_bytes"]),
                format_bytes(profile.peak) if profile is not None else "?",
                f"{choice['predicted_accuracy']:.2%}",
                f"{right / len(answers):.2%}",
            )
        )
    print(table(rows))
    print(
        f"\nMeasured accuracy: on {len(labels)} test images no stage has seen; predicted: for the {FIRST} the builder "
        "has seen.\nMemory: by how much a process grows, at most, that makes this network and runs it."
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
