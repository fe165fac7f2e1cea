"""What the built-in recipes reach: `python -m tests.benchmarks.applications [--only REGEX] [--json FILE]`.

Each recipe is built as `legodnn-build NAME` does it, in a process of its own, with the networks of the table in their
turns. The bundle is then judged by the runtime on held-out data that no stage has seen: the teacher, the best selection
within 80, 60, 40 and 25 % of the teacher's parameter bytes, and beside it the mildest single sparsity that fits. Rows
show beside the teacher's metric the chance level (`legodnn.shared.tasks.chance`);
`--json` has all the application's metrics of both.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from legodnn.builder.recipe.load import load_recipe
from legodnn.builder.recipe.resolve import build_loaders, build_manager
from legodnn.builder.recipe.schema import Recipe
from legodnn.runtime import Network, ScalingOptimizer
from legodnn.runtime.engine import tensors
from legodnn.shared.bundle.manifest import ORIGINAL
from legodnn.shared.errors import DataError, InfeasibleBudget
from legodnn.shared.tasks.known import task_named
from legodnn.shared.tasks.task import Task

SHARES = (0.8, 0.6, 0.4, 0.25)
AT_LEAST = {0.4: 0.97, 0.25: 0.93}
"""Shares of the teacher's metric that must be kept."""

ZOO = "legodnn.builder.zoo"


@dataclass(frozen=True)
class Case:
    """A row: the recipe, what is set in it, and the number of held-out inputs."""

    recipe: str
    network: str
    settings: Sequence[str] = ()
    held_out: int = 1000


SMALLER = "blocks.sparsity=[0.0, 0.3, 0.5, 0.7, 0.9]"
"""Where much is in no block, a quarter of the memory needs blocks smaller than those at 0.8."""
LARGER = "blocks.max_ratio=0.25"
"""Twice as many layers in a block as usual: what is at their edges, and so stays, is less."""

R3D = (
    f"model.factory={ZOO}.action.r3d:r3d_18",
    "model.kwargs={ width = 12, classes = 9 }",
    "model.input=[1, 3, 8, 48, 48]",
    "data.train.kwargs.layout=NCTHW",
    "data.test.kwargs.layout=NCTHW",
)
TRN = (
    f"model.factory={ZOO}.action.networks:trn_resnet18",
    "model.kwargs.features=16",
    LARGER,
    SMALLER,
)
DEEPLAB = (
    f"model.factory={ZOO}.segmentation.networks:deeplabv3_resnet18",
    LARGER,
    "data.train.kwargs.count=20000",
    "teacher.train.kwargs.precision=fp32",
    "teacher.epochs=8",
    "teacher.learning_rate=0.008",
    "distill.epochs=1",
)
R50 = (
    f"model.factory={ZOO}.detection.faster_rcnn:faster_rcnn_resnet50_fpn",
    "teacher.epochs=8",
    "teacher.learning_rate=0.001",
    "blocks.sparsity=[0.0, 0.5, 0.8, 0.9, 0.95]",
    "blocks.round_to=1",
    "distill.epochs=8",
)
SSDLITE = (
    f"model.factory={ZOO}.detection.ssdlite:ssdlite_mobilenet_v3",
    "model.kwargs={ width = 0.5, classes = 6 }",
    "teacher.epochs=15",
    "distill.epochs=6",
)
INCEPTION = (
    LARGER,
    "blocks.sparsity=[0.0, 0.25, 0.45, 0.6, 0.8]",
    "blocks.round_to=1",
    "distill.epochs=3",
)
ANCHORS = (
    (0.15, 0.34), (0.36, 0.19), (0.22, 0.34), (0.29, 0.33), (0.22, 0.45), (0.44, 0.29), (0.31, 0.42), (0.37, 0.46),
    (0.45, 0.46),
)  # fmt: skip
"""Sides of the scenes' boxes in nine clusters, as shares of the image's."""
YOLO = (
    f"model.factory={ZOO}.detection.yolov3:yolov3",
    f"model.kwargs={{ width = 0.25, classes = 5, detections = 20, anchors = {[list(pair) for pair in ANCHORS]} }}",
    "teacher.epochs=20",
    "distill.epochs=2",
)
DEEPPOSE = (f"model.factory={ZOO}.pose.networks:deeppose_resnet18", "teacher.epochs=30")

CLASSIFIERS: dict[str, tuple[str, ...]] = {
    "VGG-16": ("vgg_cifar:vgg16", "{ width = 16 }"),
    "MobileNetV2": ("mobilenet_v2_cifar:mobilenet_v2", "{ width = 0.5 }", "teacher.epochs=8"),
    "ResNeXt-29": ("resnext_cifar:resnext29", "{ cardinality = 8, width = 8, stem = 8 }", SMALLER, "distill.epochs=2"),
    "WRN-16-2": ("wide_resnet:wide_resnet", "{ depth = 16, widen = 2 }"),
    "SE-ResNet-18": ("senet_cifar:se_resnet18", "{ width = 16 }"),
    "CBAM-ResNet-18": ("cbam:cbam_resnet18", "{ width = 16 }"),
    "Attention-56": ("residual_attention:attention56", "{ width = 8 }"),
    "Inception v3": ("inception_v3:inception_v3", "{ width = 2 }", *INCEPTION),
}
"""Factories in the zoo, how narrow two cores need them, and what else is set."""


def classifier(network: str) -> Case:
    """The row of one of `CLASSIFIERS`."""
    factory, kwargs, *settings = CLASSIFIERS[network]
    settings = [f"model.factory={ZOO}.classification.{factory}", f"model.kwargs={kwargs}", *settings]
    return Case("image-classification", network, settings, 5000)


CASES = (
    Case("image-classification", "ResNet-18", held_out=5000),
    *map(classifier, CLASSIFIERS),
    Case("semantic-segmentation", "FCN-R18", held_out=500),
    Case("semantic-segmentation", "DeepLabv3-R18", DEEPLAB, 500),
    Case("object-detection", "Faster R-CNN-R18", held_out=500),
    Case("object-detection", "Faster R-CNN-R50", R50, 500),
    Case("object-detection", "YOLOv3", YOLO, 500),
    Case("object-detection", "SSDlite", SSDLITE, 500),
    Case("action-recognition", "TSN-R18"),
    Case("action-recognition", "TRN-R18", TRN),
    Case("action-recognition", "R3D-18", R3D),
    Case("anomaly-detection", "GANomaly", held_out=4000),
    Case("ordinal_regression", "ordinal regression-R18", held_out=2000),
    Case("pose-estimation", "SimpleBaseline-R18"),
    Case("pose-estimation", "DeepPose-R18", DEEPPOSE),
)


def main() -> int:
    """Build and judge what is asked for; 1 where a row falls short."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="REGEX", default=".", help="recipes or networks whose names match")
    parser.add_argument("--set", metavar="SECTION.KEY=VALUE", action="append", default=[], help="in every recipe")
    parser.add_argument("--device", default="cpu", help="where to build (default cpu)")
    parser.add_argument("--work", metavar="DIR", type=Path, help="keep bundles and work here, and use what is there")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the rows there as well")
    options = parser.parse_args()
    rows = []
    if options.work:
        options.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        for case in CASES:
            if re.search(options.only, f"{case.recipe} {case.network}"):
                rows.append(measure(case, options.work or Path(name), options.set, options.device))
                print(text(rows[-1]), flush=True)
                if options.json:
                    options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return int(any(row["short"] for row in rows))


def measure(case: Case, folder: Path, settings: Sequence[str], device: str) -> dict[str, Any]:
    """Build one case and judge it."""
    settings = [*case.settings, *settings]
    path = folder / f"{case.recipe}-{case.network}.lgb".replace(" ", "-")
    given = [word for setting in settings for word in ("--set", setting)]
    command = [sys.executable, "-m", "legodnn.builder", case.recipe, "-o", str(path), "--device", device, *given]
    started = time.perf_counter()
    subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())})
    seconds = time.perf_counter() - started
    loader = held_out(case, settings)
    with Network.open(path, cache=False) as network:
        row = judged(network, loader)
    return {"recipe": case.recipe, "network": case.network, "seconds": seconds, "bytes": path.stat().st_size, **row}


def held_out(case: Case, settings: Sequence[str]) -> list[Any]:
    """Batches of the recipe's test data, from the split that no stage sees."""
    data = "data.test.kwargs"
    split = [f"{data}.split=held-out", f"{data}.count={case.held_out}"]
    if case.recipe == "image-classification":
        split = [f"{data}.first=2000", f"{data}.last={2000 + case.held_out}"]
    recipe: Recipe = load_recipe(case.recipe, [*settings, *split, "data.train.kwargs.count=128"])
    return list(build_loaders(recipe, build_manager(recipe).task).test)


def judged(network: Network, loader: Sequence[Any]) -> dict[str, Any]:
    """The metric of the teacher, of what is chosen for each share of its bytes, and of the uniform baseline."""
    name = network.manifest.metric
    task = task_named(network.manifest.task)
    assert task is not None, "built-in recipes have applications LegoDNN knows"
    constant = task.chance()
    for _, *truths in loader:
        constant.add(truths)
    trivial = constant.figures()
    teacher = figures(network, task, network.manifest.original_selection, loader)
    metric = teacher[name]
    row: dict[str, Any] = {
        "metric": name,
        "teacher": metric,
        "trivial": trivial[name],
        "teacher_figures": teacher,
        "trivial_figures": trivial,
        "shares": [],
    }
    optimizer = ScalingOptimizer(network, count_activations=False)
    short = False
    for share in SHARES:
        limit = share * network.manifest.teacher_weight_bytes
        try:
            choice = optimizer.choose(None, limit)
        except InfeasibleBudget:
            row["shares"].append({"share": share, "mine": None, "predicted": None, "uniform": None})
            short = short or share in AT_LEAST
            continue
        mine = figures(network, task, choice.selection, loader)[name]
        plain = uniform(network, limit)
        base = figures(network, task, plain, loader)[name] if plain is not None else None
        row["shares"].append({"share": share, "mine": mine, "predicted": choice.accuracy, "uniform": base})
        short = short or mine < AT_LEAST.get(share, 0.0) * metric or (base is not None and mine < base)
    return {**row, "short": short}


def figures(network: Network, task: Task, selection: dict[str, str], loader: Sequence[Any]) -> dict[str, float]:
    """The application's metrics of a selection."""
    network.select(selection)
    meter = task.meter()
    with torch.no_grad():
        for inputs, *truths in loader:
            meter.add(tensors(network(inputs)), truths)
    try:
        return meter.figures()
    except DataError as error:
        sys.exit(str(error))


def uniform(network: Network, limit: float) -> dict[str, str] | None:
    """The mildest single sparsity that fits into a number of bytes; blocks that lack it stay as they are."""
    sparsities = {v.name: v.sparsity for block in network.blocks for v in block.variants}
    for name in sorted(sparsities, key=sparsities.__getitem__):
        selection = {b.name: name if name in {v.name for v in b.variants} else ORIGINAL for b in network.blocks}
        if sum(v.weight_bytes for v in network.manifest.chosen(selection)) <= limit:
            return selection
    return None


def text(row: dict[str, Any]) -> str:
    """A row of the results, as a table."""
    cells = [row["recipe"], row["network"], row["metric"], f"{row['teacher']:.3f} ({row['trivial']:.3f})"]
    for found in row["shares"]:
        base = f" ({found['uniform']:.3f})" if found["uniform"] is not None else ""
        cells.append(f"{found['mine']:.3f}{base}" if found["mine"] is not None else "-")
    cells += [f"{row['bytes'] / 2**20:.1f} MiB", f"{row['seconds']:.0f} s"]
    return f"| {' | '.join(cells)} |{' short' if row['short'] else ''}"


if __name__ == "__main__":
    sys.exit(main())
