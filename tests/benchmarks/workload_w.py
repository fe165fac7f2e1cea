"""Workload W, the yardstick: `python -m tests.benchmarks.workload_w` prints one JSON object.

The folder with the workload's definition (`workload.py`) and its trained teacher is named by ``LEGODNN_WORKLOAD``, by
default ``../shared/workload``. CPU seconds are those of this process and its threads. Nothing looks at the held-out
images but the last figures; nothing is chosen by them.
"""

from __future__ import annotations

import importlib.util
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from legodnn.builder import (
    AutoBlockManager,
    BlockProfiler,
    BlockRetrainer,
    BundleOptions,
    CommonModelManager,
    pack,
    set_random_seed,
)
from legodnn.runtime import InfeasibleBudget, LatencyEstimator, Network, ScalingOptimizer
from legodnn.runtime.engine import time_turns
from legodnn.shared.bundle.manifest import ORIGINAL
from legodnn.shared.errors import LegoError
from tests.benchmarks.applications import uniform

EPOCHS, RATE = 3, 1e-3
LATENCY_SELECTIONS, LATENCY_ROUNDS, LATENCY_GROUP = 30, 151, 6
INPUT = (1, 3, 32, 32)


def load_workload() -> ModuleType:
    """The module that defines W."""
    path = Path(os.environ.get("LEGODNN_WORKLOAD", "../shared/workload")) / "workload.py"
    spec = importlib.util.spec_from_file_location("workload", path)
    if spec is None or spec.loader is None or not path.exists():
        sys.exit(f"{path}: no such file; LEGODNN_WORKLOAD names the folder that has it")
    module = importlib.util.module_from_spec(spec)
    sys.modules["workload"] = module
    spec.loader.exec_module(module)
    return module


def cpu_seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of this process that some work takes, and its result."""
    started = time.process_time()
    result = work()
    return time.process_time() - started, result


def build(workload: ModuleType, folder: Path) -> dict[str, Any]:
    """Both bundles, and what making them took."""
    set_random_seed(0)
    teacher, manager = workload.teacher(), CommonModelManager()
    train, test = workload.loader(*workload.DISTILL_IMAGES, shuffle=True), workload.loader(*workload.PROFILE_IMAGES)

    def extract() -> AutoBlockManager:
        found = AutoBlockManager(
            workload.SPARSITIES, teacher, manager, INPUT, workload.MAX_RATIO, "cpu", round_to=1
        )
        found.extract_all_blocks(folder / "compressed")
        return found

    extract_cpu_s, blocks = cpu_seconds(extract)
    retrainer = BlockRetrainer(
        teacher, blocks, manager, folder / "compressed", folder / "trained", EPOCHS, train, "cpu", learning_rate=RATE
    )
    train_cpu_s, _ = cpu_seconds(retrainer.train_all_blocks)
    profiler = BlockProfiler(teacher, blocks, manager, folder / "trained", test, INPUT, "cpu")
    profile_cpu_s, profile = cpu_seconds(profiler.profile_all_blocks)
    teacher_bytes = sum(p.numel() * p.element_size() for p in teacher.parameters())
    ratios = {}
    for precision in ("fp32", "fp16"):
        options = BundleOptions(precision=precision)
        size = pack(folder / f"{precision}.lgb", blocks, folder / "trained", profile, test, options)
        ratios[precision] = size / teacher_bytes
    return {
        "extract_cpu_s": extract_cpu_s,
        "train_cpu_s": train_cpu_s,
        "profile_cpu_s": profile_cpu_s,
        "bundle_ratio": ratios,
    }


def accuracies(workload: ModuleType, network: Network, selection: dict[str, str]) -> dict[str, float]:
    """Percent right of a selection on the profile and the held-out images."""
    network.select(selection)
    return {
        name: workload.accuracy(network, workload.loader(*split))
        for name, split in (("profile", workload.PROFILE_IMAGES), ("heldout", workload.HELDOUT_IMAGES))
    }


def budgets(workload: ModuleType, network: Network) -> list[dict[str, float]]:
    """What the optimiser chooses for each memory share, predicted and measured."""
    optimizer = ScalingOptimizer(network, count_activations=False)
    parameters = sum(p.numel() * p.element_size() for p in workload.teacher().parameters())
    rows = []
    for share in workload.MEMORY_SHARES:
        choice = optimizer.choose(None, share * parameters)
        measured = accuracies(workload, network, choice.selection)
        baseline = uniform(network, share * parameters)
        if baseline is None:
            sys.exit(f"no single sparsity fits into {share:.0%} of the parameters")
        plain = accuracies(workload, network, baseline)
        rows.append(
            {
                "memory_share": share,
                "predicted": 100 * choice.accuracy,
                **measured,
                "uniform_heldout": plain["heldout"],
            }
        )
    return rows


def latency(network: Network) -> dict[str, float]:
    """Predicted against measured seconds over random selections, measured after the table was made."""
    table = LatencyEstimator(network).profile_all_blocks(again=True)
    generator = random.Random(1)
    errors = []
    sample = network.sample_inputs()
    for _ in range(LATENCY_SELECTIONS // LATENCY_GROUP):
        selections = [{b.name: generator.choice(b.variants).name for b in network.blocks} for _ in range(LATENCY_GROUP)]
        turns = time_turns([network.compose(s) for s in selections], sample, LATENCY_ROUNDS)
        measured = [statistics.median(column) for column in zip(*turns, strict=True)]
        errors.extend(abs(table.predict(s) / m - 1) for s, m in zip(selections, measured, strict=True))
    return {
        "median_error": statistics.median(errors),
        "worst_error": max(errors),
        "repeat_noise": table.repeat_noise,
    }


def infeasible_solves(network: Network) -> int:
    """Solves until a request nobody can meet is refused; the refusal must name the minima."""
    optimizer = ScalingOptimizer(network)
    try:
        optimizer.choose(1e-9, 1024)
    except InfeasibleBudget as refusal:
        if refusal.minimum_seconds is None or refusal.minimum_bytes is None:
            raise
        return optimizer.solves
    sys.exit("a request that cannot be met was accepted")


def main() -> int:
    """Run the workload; returns the exit status."""
    workload = load_workload()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        result = build(workload, folder)
        with Network.open(folder / "fp32.lgb", cache=False) as network:
            result["teacher"] = accuracies(workload, network, {b.name: ORIGINAL for b in network.blocks})
            result["budgets"] = budgets(workload, network)
            result["latency"] = latency(network)
            result["infeasible_solves"] = infeasible_solves(network)
    print(json.dumps(result, indent=1))
    return 0


if __name__ == "__main__":
    torch.set_num_threads(min(2, torch.get_num_threads()))
    try:
        sys.exit(main())
    except LegoError as error:
        sys.exit(str(error))
