"""How long it takes until a network answers: `python -m tests.benchmarks.startup [--json FILE]`.

In fresh processes that alternate: importing what the README's first example of the runtime imports against importing
torch and PuLP alone; then opening a bundle of more than 100 MB (a ResNet-50 with random weights and one descendant per
block) and its first inference, once on a device that finds the way to run (cold), then where it is remembered (warm).
One thread.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

ROUNDS, IMPORTS = 11, 2
"""How often a process of each kind is run, and for each of these those that only import: what is asked of them is close
to the noise."""

IMPORT_LIMIT, OPEN_LIMIT, LEAST_BYTES = 1.05, 0.020, 100e6

_CLOCK = "import json, sys, time; started = time.perf_counter()\n"
_TELL = "\nprint(json.dumps({'seconds': time.perf_counter() - started}))"
_ALONE = f"{_CLOCK}import torch, pulp{_TELL}"
_RUNTIME = f"{_CLOCK}from legodnn.runtime import LatencyEstimator, Network, ScalingOptimizer{_TELL}"
_RUN = """
import json, sys, time
from legodnn.runtime import Network
started = time.perf_counter()
network = Network.open(sys.argv[1])
opened = time.perf_counter()
x = network.sample_inputs()
asked = time.perf_counter()
network(*x)
first = time.perf_counter()
network(*x)
second = time.perf_counter()
print(json.dumps({"open": opened - started, "first": first - asked, "second": second - first}))
"""


def main() -> int:
    """Measure and print; 1 where a limit is exceeded."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures here too")
    rounds = f"processes of each kind (default {ROUNDS}), and {IMPORTS} times as many that only import"
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=rounds)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(big_bundle(Path(folder)), Path(folder), options.rounds)
    print(f"{platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}; medians")
    both = f"runtime {found['runtime']:.3f} s, torch and PuLP {found['alone']:.3f} s"
    print(f"import: {both}, ratio {found['ratio']:.3f}")
    print(f"open: {1e3 * found['open']:.1f} ms for {found['bytes'] / 1e6:.0f} MB")
    print(f"first inference: cold {found['cold']:.2f} s, warm {found['warm']:.2f} s; second {found['second']:.3f} s")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return int(found["ratio"] > IMPORT_LIMIT or found["open"] > OPEN_LIMIT)


def big_bundle(folder: Path) -> Path:
    """A bundle of more than 100 MB."""
    from legodnn.builder import AutoBlockManager, CommonModelManager
    from tests.benchmarks.composition import network
    from tests.benchmarks.untrained import untrained_bundle

    model, x = network("resnet50")
    path = untrained_bundle(AutoBlockManager([0.5], model, CommonModelManager(), tuple(x.shape)), folder)
    if path.stat().st_size < LEAST_BYTES:
        sys.exit(f"{path}: only {path.stat().st_size} bytes")
    return path


def measure(path: Path, cache: Path, rounds: int) -> dict[str, float]:
    """All figures; seconds and bytes."""
    warm = {"XDG_CACHE_HOME": str(cache / "warm")}
    _child(_RUN, warm, str(path))
    imports = [(_child(_ALONE, {})["seconds"], _child(_RUNTIME, {})["seconds"]) for _ in range(IMPORTS * rounds)]
    runs: dict[str, list[dict[str, float]]] = {"cold": [], "warm": []}
    for turn in range(rounds):
        runs["warm"].append(_child(_RUN, warm, str(path)))
        if turn < max(1, rounds // 4):
            runs["cold"].append(_child(_RUN, {"XDG_CACHE_HOME": str(cache / f"cold{turn}")}, str(path)))
    alone, runtime = (statistics.median(column) for column in zip(*imports, strict=True))
    opened = [run["open"] for kind in runs.values() for run in kind]
    return {
        "alone": alone,
        "runtime": runtime,
        "ratio": statistics.median(b / a for a, b in imports),
        "bytes": path.stat().st_size,
        "open": statistics.median(opened),
        "cold": statistics.median(run["first"] for run in runs["cold"]),
        "warm": statistics.median(run["first"] for run in runs["warm"]),
        "second": statistics.median(run["second"] for run in runs["warm"]),
    }


def _child(code: str, extra: Mapping[str, str], *arguments: str) -> dict[str, Any]:
    """What a fresh process says."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **extra}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *arguments],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    if done.returncode:
        sys.exit(done.stderr.strip().splitlines()[-1])
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    sys.exit(main())
