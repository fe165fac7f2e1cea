"""How far the memory that is predicted for a selection is from what a process grows by.

    python -m tests.benchmarks.memory_error [--models REGEX] [--ways REGEX] [--selections N] [--json FILE]

For each network (random weights, untrained descendants at three sparsities, one image of 224 pixels; W where
``LEGODNN_WORKLOAD`` names its folder) and each way to run (by default the one this device chooses): the runtime
measures the network's memory as it does for everybody; then selections are predicted, most of them others, and each is
run in a fresh process: what it grows by while frames flow, when they have gone, and while the selection is made to run.
The limit is 10 % or 2 MiB, whichever is more, on the growth while frames flow. What the bundle's tables alone say is
printed beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

NETWORKS = ("W", "resnet18", "mobilenet_v2", "fcn_resnet50")
SPARSITIES = [0.25, 0.5, 0.75]
LIMIT_SHARE, LIMIT_BYTES = 0.10, 2 * 1024**2
MIB = 1024**2


def main() -> int:
    """Run the benchmark; 1 where a prediction is off by more than the limit."""
    about = __doc__.splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.memory_error", description=about)
    parser.add_argument("--models", metavar="REGEX", default=".", help="only networks whose name matches")
    parser.add_argument("--ways", metavar="REGEX", help="backends; by default the one this device chooses")
    parser.add_argument("--selections", metavar="N", type=int, default=4, help="random selections (default 4)")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the rows there as well")
    options = parser.parse_args()
    machine = {"machine": platform.machine(), "cores": os.cpu_count(), "torch": torch.__version__}
    print(f"{' '.join(f'{key} {value}' for key, value in machine.items())}\n{HEADER}", flush=True)
    rows = []
    for name in [n for n in NETWORKS if re.search(options.models, n)]:
        if name == "W" and not os.environ.get("LEGODNN_WORKLOAD"):
            continue
        with tempfile.TemporaryDirectory() as folder:
            for row in examine(name, made(name, Path(folder)), options.ways, options.selections):
                rows.append(row)
                print(line(row), flush=True)
    if options.json:
        options.json.write_text(json.dumps({**machine, "rows": rows}, indent=1) + "\n", encoding="utf-8")
    worst = max((abs(r["error"]) for r in rows), default=0.0)
    print(f"{sum(r['within'] for r in rows)} of {len(rows)} within the limit, the worst off by {worst:.1%}")
    return int(not all(r["within"] for r in rows))


def made(name: str, folder: Path) -> Path:
    """A bundle of a network."""
    from legodnn.builder import AutoBlockManager, CommonModelManager
    from tests.benchmarks.composition import network
    from tests.benchmarks.untrained import untrained_bundle

    model, x = network(name)
    return untrained_bundle(AutoBlockManager(SPARSITIES, model, CommonModelManager(), tuple(x.shape)), folder)


def examine(name: str, path: Path, backends: str | None, count: int) -> list[dict[str, Any]]:
    """A row for every selection and way."""
    from legodnn.runtime import Network
    from legodnn.runtime.device.memory_table import needed_bytes
    from legodnn.runtime.engine import BACKENDS, Backend
    from legodnn.runtime.profiling.memory import MemoryEstimator, profile_memory

    rows: list[dict[str, Any]] = []
    with Network.open(path, cache=False) as network:
        estimator, choose = MemoryEstimator(network), random.Random(name)
        original, smallest, *_ = estimator.selections()
        wanted_selections = [("original", original), ("smallest", smallest)]
        for _ in range(count):
            wanted_selections.append(("mixed", {b.name: choose.choice(b.variants).name for b in network.blocks}))
        if backends is None:
            network.compose(original)
        wanted = [network.way] if backends is None else [b for b in BACKENDS if re.search(backends, str(b))]
        for backend in filter(None, wanted):
            network._workshop.ready_composer().backend = Backend.from_text(str(backend))
            table = estimator.profile_all_blocks(again=True)
            for kind, selection in wanted_selections:
                profile = profile_memory(path, backend, selection, network.batch)
                if table is None or profile is None:
                    sys.exit(f"{name}: this system does not tell how much a process grows")
                predicted = needed_bytes(network.manifest, selection, table)
                off = predicted - profile.peak
                rows.append({
                    "name": name, "way": str(backend), "kind": kind, "selection": selection,
                    "tables": needed_bytes(network.manifest, selection), "predicted": predicted, **profile._asdict(),
                    "error": off / profile.peak, "within": abs(off) <= max(LIMIT_BYTES, LIMIT_SHARE * profile.peak),
                    "base": table.base, "factor": table.factor, "worst_error": table.worst_error,
                })  # fmt: skip
    return rows


HEADER = (
    f"{'network':13} {'way':23} {'selection':9} {'tables':>7} {'predicted':>9} {'frames':>7} {'resident':>8} "
    f"{'loading':>7} MiB {'error':>6}"
)


def line(row: dict[str, Any]) -> str:
    """A row as text."""
    sizes = "".join(f" {row[key] / MIB:{width}.1f}" for key, width in _COLUMNS)
    mark = "" if row["within"] else "  over the limit"
    return f"{row['name']:13} {row['way']:23} {row['kind']:9}{sizes}     {row['error']:+6.1%}{mark}"


_COLUMNS = (("tables", 7), ("predicted", 9), ("peak", 7), ("resident", 8), ("loading", 7))

if __name__ == "__main__":
    sys.exit(main())
