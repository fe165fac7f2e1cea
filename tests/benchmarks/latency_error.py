"""How true predicted latencies are: `python -m tests.benchmarks.latency_error [--models REGEX] [--json FILE]`.

Networks with blocks at sparsities 0, 0.2, 0.4, 0.6 and 0.8 (random weights; W, where ``LEGODNN_WORKLOAD`` names its
folder) are measured, and 40 selections nobody has seen are composed and timed right before it and again right after it,
with everything in another order, in turns with the teacher, as while measuring. What is predicted is compared with the
mean of the two times; the machine's noise is how far these are apart. The limits are 3 % in the median and 8 % at
worst, or 1.5 times the noise. Beside them is printed how much too long or too short the predictions are as a whole, as
they are where the machine had another speed while measuring, and what is left of the errors without that.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import torch

NETWORKS = ("W", "resnet18", "mobilenet_v2")
SPARSITIES = (0.0, 0.2, 0.4, 0.6, 0.8)
SELECTIONS, GROUP, TURNS = 40, 6, 15
MEDIAN_LIMIT, WORST_LIMIT, NOISES = 0.03, 0.08, 1.5
COLUMNS = {
    "median": "median",
    "worst": "worst",
    "noise": "noise",
    "worst ": "worst_noise",
    "bias": "bias",
    "without": "steady_median",
    "worst  ": "steady_worst",
    "held-out": "held_out",
    "worst   ": "worst_held_out",
}
"""Titles, and what is below them."""
WIDTH = 8
W_SECONDS, MOST_INFERENCES, CACHE_SECONDS = 45.0, 3000, 0.050


def main() -> int:
    """Run the benchmark; 1 where a limit is exceeded."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", metavar="REGEX", default=".", help="only networks whose name matches")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures here too")
    parser.add_argument("--one", nargs=2, metavar=("NAME", "BUNDLE"), help=argparse.SUPPRESS)
    parser.add_argument("--warm", metavar="BUNDLE", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.warm:
        print(json.dumps(from_cache(options.warm)))
        return 0
    if options.one:
        print(json.dumps(measure(options.one[1])))
        return 0
    print(f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"{'':14}{'  '.join(f'{title:>{WIDTH}}' for title in COLUMNS)}  limits  seconds  inferences  from cache")
    results = {}
    for name in [n for n in NETWORKS if re.search(options.models, n)]:
        with tempfile.TemporaryDirectory() as folder:
            found = _one(name, Path(folder))
        results[name] = found
        texts = [f"{100 * found[key]:{WIDTH - 1}.1f}%" for key in COLUMNS.values()]
        print(
            f"{name:14}{'  '.join(texts)}  {'met' if _met(name, found) else 'NOT MET':7} {found['seconds']:7.1f} "
            f"{found['inferences']:11} {1e3 * found['cached']:8.1f} ms",
            flush=True,
        )
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return int(not all(_met(name, found) for name, found in results.items()))


def _met(name: str, found: dict[str, float]) -> bool:
    exact = found["median"] <= max(MEDIAN_LIMIT, NOISES * found["noise"])
    exact = exact and found["worst"] <= max(WORST_LIMIT, NOISES * found["worst_noise"])
    quick = found["inferences"] <= MOST_INFERENCES and found["cached"] <= CACHE_SECONDS
    return exact and quick and (name != "W" or found["seconds"] <= W_SECONDS)


def _one(name: str, folder: Path) -> dict[str, Any]:
    from legodnn.builder import AutoBlockManager, CommonModelManager
    from tests.benchmarks.composition import network
    from tests.benchmarks.untrained import untrained_bundle

    model, x = network(name)
    path = untrained_bundle(AutoBlockManager(list(SPARSITIES), model, CommonModelManager(), tuple(x.shape)), folder)
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder)}
    found = _child(["--one", name, str(path)], environment)
    return {**found, "cached": statistics.median(_child(["--warm", str(path)], environment) for _ in range(5))}


def _child(arguments: list[str], environment: dict[str, str]) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.latency_error", *arguments],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    if done.returncode:
        sys.exit(done.stderr.strip().splitlines()[-1])
    return json.loads(done.stdout.splitlines()[-1])


def measure(path: str) -> dict[str, Any]:
    """Predictions against measurements of one network."""
    from legodnn.runtime import LatencyEstimator, Network
    from legodnn.runtime.engine import Composition

    warnings.simplefilter("ignore")
    torch.set_grad_enabled(False)
    counted = [0]
    run = Composition.__call__

    def counting(self: Composition, *inputs: torch.Tensor) -> Any:
        counted[0] += 1
        return run(self, *inputs)

    Composition.__call__ = counting  # type: ignore[method-assign]
    with Network.open(path) as network:
        started = time.perf_counter()
        network.find_way()
        seconds, inferences = time.perf_counter() - started, counted[0]
        generator = random.Random(1)
        selections = [{b.name: generator.choice(b.variants).name for b in network.blocks} for _ in range(SELECTIONS)]
        before, counted[0] = _times(network, selections, generator), 0
        started = time.perf_counter()
        table = LatencyEstimator(network).profile_all_blocks()
        seconds, inferences = seconds + time.perf_counter() - started, inferences + counted[0]
        after = _times(network, selections, generator)
    noise = [abs(a / b - 1) for a, b in zip(before, after, strict=True)]
    truth = [(a + b) / 2 for a, b in zip(before, after, strict=True)]
    parts = [table.predict(s) / seconds for s, seconds in zip(selections, truth, strict=True)]
    typical = statistics.median(parts)
    errors, steady = ([abs(part / by - 1) for part in parts] for by in (1.0, typical))
    return {
        "median": statistics.median(errors),
        "worst": max(errors),
        "noise": statistics.median(noise),
        "worst_noise": max(noise),
        "bias": typical - 1,
        "steady_median": statistics.median(steady),
        "steady_worst": max(steady),
        "held_out": table.median_error,
        "worst_held_out": table.worst_error,
        "seconds": seconds,
        "inferences": inferences,
    }


def _times(network: Any, selections: list[dict[str, str]], generator: random.Random) -> list[float]:
    """Seconds of selections, in an order of their own."""
    from legodnn.runtime.engine import time_turns

    order = list(range(len(selections)))
    generator.shuffle(order)
    inputs = network.sample_inputs()
    ratios, references = {}, []
    for start in range(0, len(order), GROUP):
        members = order[start : start + GROUP]
        teacher = network.compose(network.manifest.original_selection)
        turns = time_turns([teacher, *(network.compose(selections[i]) for i in members)], inputs, TURNS, repeats=2)
        references.append(statistics.median(turn[0] for turn in turns))
        for place, i in enumerate(members, start=1):
            ratios[i] = statistics.median(turn[place] / turn[0] for turn in turns)
    typical = statistics.median(references)
    return [typical * ratios[i] for i in range(len(selections))]


def from_cache(path: str) -> float:
    """Seconds that latencies take which were measured before."""
    from legodnn.runtime import LatencyEstimator, Network

    with Network.open(path) as network:
        started = time.perf_counter()
        LatencyEstimator(network).profile_all_blocks()
        return time.perf_counter() - started


if __name__ == "__main__":
    sys.exit(main())
