"""Accuracy against time: what a bundle's selections are worth, beside uniform sparsity and the teacher.

    python -m tests.benchmarks.curve BUNDLE [--results FOLDER]
    python -m tests.benchmarks.curve --draw CSV SVG

The first form takes a bundle of `legodnn-build image-classification`. The optimizer chooses selections for time budgets
from the least that is achievable to the teacher's time; they, the teacher and uniform sparsities are timed on one
thread, in turns, and judged on test images that no stage of the build has seen. The figures go to
``curve-ENVIRONMENT.csv``. The second form draws such a file.
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
import random
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import torch

from legodnn.builder.managers import CommonModelManager
from legodnn.builder.report import page
from legodnn.builder.report.chart import Chart, Mark, axis, symbol
from legodnn.builder.zoo.common.fashion_mnist import test_loader
from legodnn.runtime import InfeasibleBudget, LatencyEstimator, Network, ScalingOptimizer

RESULTS = Path(__file__).parent / "results"

FIRST, LAST = 2000, 10_000
"""Test images that no stage of a build sees."""

BUDGETS = 24
"""How many time budgets the optimizer chooses selections for."""

TURNS, RUNS, WARM = 40, 9, 3
"""In every turn each selection runs so often, after warming up; a turn's time is the median of its runs, and a
selection's the median of its turns."""

ELASTIC, UNIFORM, TEACHER = "elastic", "uniform", "teacher"


@dataclass(frozen=True)
class Row:
    """A selection: sparsities block by block, bytes of its weights, milliseconds, accuracy on held-out images."""

    kind: str
    sparsities: str
    weight_bytes: int
    milliseconds: float
    accuracy: float
    predicted_accuracy: float


def main() -> int:
    """Measure or draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", nargs="?", type=Path, metavar="BUNDLE", help="what is measured")
    parser.add_argument("--results", type=Path, metavar="FOLDER", default=RESULTS, help="where the figures go")
    parser.add_argument("--draw", nargs=2, type=Path, metavar=("CSV", "SVG"), help="draw figures, measure nothing")
    options = parser.parse_args()
    if options.draw:
        source, picture = options.draw
        picture.write_text(drawing(read(source)), encoding="utf-8")
        return 0
    if options.bundle is None:
        parser.error("give a bundle, or --draw")
    rows = measure(options.bundle)
    path = options.results / f"curve-{environment()}.csv"
    write(path, rows)
    print(f"{path}: {len(rows)} selections")
    return 0


# ---- measuring ------------------------------------------------------------------------------------------------------
def measure(path: Path) -> list[Row]:
    """Time and judge selections of a bundle."""
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    warnings.simplefilter("ignore")
    with Network.open(path, cache=False) as network:
        table = LatencyEstimator(network).profile_all_blocks()
        optimizer = ScalingOptimizer(network, count_activations=False)
        teacher = network.manifest.original_selection
        chosen = [(TEACHER, teacher), *((UNIFORM, selection) for selection in uniform(network))]
        for selection in elastic(optimizer, table.predict(teacher)):
            if all(selection != known for _, known in chosen):
                chosen.append((ELASTIC, selection))
        seconds = timed(network, [selection for _, selection in chosen])
        rows = [row(network, optimizer, *pair, s) for pair, s in zip(chosen, seconds, strict=True)]
    return sorted(rows, key=lambda row: (row.kind, row.milliseconds))


def uniform(network: Network) -> list[dict[str, str]]:
    """The selections with one sparsity in every block, above 0."""
    names = [variant.name for variant in network.blocks[0].variants if variant.sparsity > 0]
    return [{block.name: name for block in network.blocks} for name in names]


def elastic(optimizer: ScalingOptimizer, slowest: float) -> list[dict[str, str]]:
    """What the optimizer chooses for time budgets, each selection once."""
    try:
        optimizer.choose(1e-9)
    except InfeasibleBudget as refusal:
        fastest = refusal.minimum_seconds
    found: list[dict[str, str]] = []
    for number in range(BUDGETS):
        budget = fastest * 1.001 + (slowest - fastest) * number / (BUDGETS - 1)
        selection = dict(optimizer.choose(budget).selection)
        if selection not in found:
            found.append(selection)
    return found


def timed(network: Network, selections: Sequence[dict[str, str]]) -> list[float]:
    """Median seconds of each, all of them in turns and each turn in another order."""
    [x], _ = network.samples()
    x = x[:1]
    compositions = [network.compose(selection) for selection in selections]
    turns: list[list[float]] = [[] for _ in selections]
    generator = random.Random(0)
    for _ in range(TURNS):
        for number in generator.sample(range(len(selections)), len(selections)):
            runs = [_seconds(compositions[number], x) for _ in range(WARM + RUNS)]
            turns[number].append(statistics.median(runs[WARM:]))
    return [statistics.median(found) for found in turns]


def _seconds(composition: Any, x: torch.Tensor) -> float:
    started = time.perf_counter()
    composition(x)
    return time.perf_counter() - started


def row(network: Network, optimizer: ScalingOptimizer, kind: str, selection: dict[str, str], seconds: float) -> Row:
    """Judge a selection on held-out images."""
    network.select(selection)
    accuracy = CommonModelManager().get_model_acc(network, test_loader(FIRST, LAST), "cpu")
    chosen = network.manifest.chosen(selection)
    cost = sum(variant.cost for variant in chosen)
    sparsities = {block.name: {v.name: v.sparsity for v in block.variants} for block in network.blocks}
    return Row(
        kind,
        " ".join(f"{100 * sparsities[block][name]:.0f}" for block, name in selection.items()),
        sum(variant.weight_bytes for variant in chosen),
        round(1000 * seconds, 4),
        round(accuracy, 5),
        round(network.manifest.predictor.accuracy(cost), 5),
    )


def environment() -> str:
    """Where figures come from, for the name of their file."""
    version = ".".join(torch.__version__.split(".")[:2])
    machine = platform.machine().replace("x86_64", "x86").replace("AMD64", "x86")
    return f"torch{version}-{machine}-{os.cpu_count()}cores"


# ---- files ----------------------------------------------------------------------------------------------------------
def write(path: Path, rows: Sequence[Row]) -> None:
    """Write the figures with where they are from."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        file.write(
            f"# command: OMP_NUM_THREADS=1 python -m tests.benchmarks.curve fashion.lgb, of legodnn-build "
            f"image-classification -o fashion.lgb; {os.cpu_count()} cores of a shared {platform.machine()} machine, "
            f"torch {torch.__version__}, one thread\n"
            f"# sparsities: in percent, block by block; milliseconds: median of {TURNS} turns; accuracy: top-1 on "
            f"{LAST - FIRST:,} held-out test images\n"
        )
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([field.name for field in fields(Row)])
        writer.writerows(map(astuple, rows))


def read(path: Path) -> list[Row]:
    """The figures in a file."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return [
        Row(
            row["kind"], row["sparsities"], int(row["weight_bytes"]), float(row["milliseconds"]),
            float(row["accuracy"]), float(row["predicted_accuracy"]),
        )
        for row in csv.DictReader(lines)
    ]  # fmt: skip


# ---- drawing --------------------------------------------------------------------------------------------------------
STYLE = """
text { font: 13px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #6e7781; }
.tick { text-anchor: middle; } .tick.left { text-anchor: end; dominant-baseline: central; }
.label { text-anchor: middle; } .gridline { stroke: #8c959f; stroke-opacity: 0.25; } .axis { stroke: #8c959f; }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; }
.line.elastic { stroke: #0a7bcc; } .mark.elastic { fill: #0a7bcc; }
.line.uniform { stroke: #d9701a; stroke-dasharray: 5 4; } .mark.uniform { fill: #d9701a; }
.mark.teacher { fill: #8250df; }
@media (prefers-color-scheme: dark) { text { fill: #9da7b3; } }
"""

SHAPES = {ELASTIC: "circle", UNIFORM: "square", TEACHER: "star"}

ROOM = 0.05
"""What is left free around the points, as a share of their span."""


def drawing(rows: Sequence[Row]) -> str:
    """The figures as an SVG of its own."""
    times = [row.milliseconds for row in rows]
    accuracies = [row.accuracy for row in rows]
    spare = ROOM * (max(times) - min(times))
    across = axis("time of an inference on one thread, ms", min(times) - spare, max(times) + spare, 1, widened=False)
    up = axis("top-1 accuracy on held-out images, %", min(accuracies) - 0.002, max(accuracies) + 0.0005, 0.01)
    chart = Chart("curve", "accuracy against the time of an inference; the same numbers are in a table", across, up)
    [teacher] = [row for row in rows if row.kind == TEACHER]
    for kind in (UNIFORM, ELASTIC):
        found = sorted([row for row in rows if row.kind in (kind, TEACHER)], key=lambda row: row.milliseconds)
        line = found if kind == UNIFORM else best(found)
        chart.line([(row.milliseconds, row.accuracy) for row in line], f"line {kind}")
        for row in found:
            _draw(chart, row, 4.5)
    _draw(chart, teacher, 5.5)
    shapes = page._environment().get_template("chart.svg.j2").module
    start, _, rest = str(shapes.chart(chart)).strip().partition("<svg ")
    inside, _, _ = rest.rpartition("</svg>")
    size = f'width="{chart.width}" height="{chart.height}"'
    frame = f'{start}<svg xmlns="http://www.w3.org/2000/svg" {size} {inside}'
    head, _, body = frame.partition(">")
    lines = f"{head}><style>{STYLE}</style>{body}{''.join(_legend(shapes.mark))}</svg>".splitlines()
    return "\n".join(line.strip() for line in lines if line.strip()) + "\n"


def _legend(mark: Callable[[Mark], str]) -> Iterator[str]:
    left = 92.0
    for kind, text, width in (
        (ELASTIC, "elastic selections", 148), (UNIFORM, "uniform sparsity", 140), (TEACHER, "teacher", 0),
    ):  # fmt: skip
        yield str(mark(symbol(SHAPES[kind], (left, 18.0), 4.5, f"mark {kind}")))
        yield f'<text x="{left + 12:g}" y="22.5">{text}</text>'
        left += width


def best(rows: Sequence[Row]) -> list[Row]:
    """Of rows in the order of their times those that are more accurate than all faster ones."""
    found: list[Row] = []
    for row in rows:
        if not found or row.accuracy > found[-1].accuracy:
            found.append(row)
    return found


def _draw(chart: Chart, row: Row, size: float) -> None:
    title = f"{row.kind}: {100 * row.accuracy:.2f} %, {row.milliseconds:.3f} ms; sparsities {row.sparsities}"
    chart.point(row.milliseconds, row.accuracy, SHAPES[row.kind], f"mark {row.kind}", title, size)


if __name__ == "__main__":
    sys.exit(main())
