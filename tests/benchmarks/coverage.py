"""Every network of torchvision and of the project's zoo, from blocks to a bundle that runs without torchvision.

    python -m tests.benchmarks.coverage [--models REGEX] [--jobs N] [--json FILE]

For each network (random weights, the smallest sensible input): find blocks; compare what is composed from originals
with the network itself; derive every block at sparsity 0.5; write a bundle; read it in a process that cannot import
torchvision and compare a mixed selection with the pruned network run eagerly. A network without blocks has failed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn
import torchvision

from legodnn.shared.platform import forget_peak, peak_bytes

SPARSITY = 0.5
TIMEOUT = 1800.0
PLAN_SECONDS, LARGEST_SECONDS, LARGEST = 10, 30, 10
SHARE = 0.6


def main() -> int:
    """Run the benchmark; returns 1 where a network failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.coverage", description=__doc__.splitlines()[0])
    parser.add_argument("--models", metavar="REGEX", default=".", help="only networks whose name matches")
    parser.add_argument("--jobs", metavar="N", type=int, default=1, help="networks at a time, which share the cores")
    parser.add_argument("--json", metavar="FILE", help="write the rows there as well")
    parser.add_argument("--one", metavar="NAME", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(examine(options.one)))
        return 0
    from tests.benchmarks.registry import NETWORKS

    jobs = max(1, options.jobs)
    threads = max(1, torch.get_num_threads() // jobs)
    machine = {
        "machine": platform.machine(), "cores": os.cpu_count(), "networks at a time": jobs, "threads for each": threads,
        "torch": torch.__version__, "torchvision": torchvision.__version__, "python": platform.python_version(),
    }  # fmt: skip
    print(f"{' '.join(f'{key} {value}' for key, value in machine.items())}\n\n{HEADER}", flush=True)
    rows = []
    wanted = [name for name in NETWORKS if re.search(options.models, name)]
    with ThreadPoolExecutor(jobs) as pool:
        for row in pool.map(lambda name: _in_own_process(name, threads), wanted):
            rows.append(row)
            print("\n".join(lines(row)), flush=True)
    print("\n" + "\n".join(summary(rows)))
    if options.json:
        Path(options.json).write_text(json.dumps({**machine, "rows": rows}, indent=1) + "\n", encoding="utf-8")
    return 1 if any("error" in row for row in rows) else 0


def _in_own_process(name: str, threads: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.benchmarks.coverage", "--one", name]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False, env=environment)
    except subprocess.TimeoutExpired:
        return {"name": name, "error": f"more than {TIMEOUT:.0f} s"}
    if done.returncode:
        lines = [text for text in done.stderr.splitlines() if text.strip()]
        return {"name": name, "error": lines[-1] if lines else f"exit code {done.returncode}"}
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return row


# ---- one network --------------------------------------------------------------------------------------------------
def examine(name: str) -> dict[str, Any]:
    """All steps for one network; raises where one fails."""
    from legodnn.builder import AutoBlockManager, CommonModelManager
    from legodnn.builder.graph.run import compose
    from legodnn.builder.plan.shares import layer_shares
    from tests.benchmarks.registry import NETWORKS
    from tests.benchmarks.untrained import untrained_bundle

    torch.manual_seed(0)
    torch.set_grad_enabled(False)
    network = NETWORKS[name]
    manager = CommonModelManager()
    model = manager.network_to_cut(network.make().eval(), network.shape)
    seconds: dict[str, float] = {}
    started = time.perf_counter()
    blocks = AutoBlockManager([SPARSITY], model, manager, network.inputs)
    found = time.perf_counter() - started
    peak = peak_bytes()
    error = _error(compose(blocks.graph, blocks.originals, {}).outputs(*blocks.samples), model, blocks.samples)
    if error > 1e-5:
        raise AssertionError(f"composed from originals it is off by {error:.1e}")
    del model  # legodnn-build lets go of it here as well
    forget_peak()  # what the comparison took
    started = time.perf_counter()
    plan = blocks.plan()
    seconds["plan"] = found + time.perf_counter() - started
    started = time.perf_counter()
    for block in blocks.block_names:
        blocks.derive(block, f"sparsity={SPARSITY:g}")
    seconds["derive"] = time.perf_counter() - started
    peak = max(peak, peak_bytes())
    removable = sum(share.removable for c in blocks.channels.values() for share in layer_shares(c).values())
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        path = untrained_bundle(blocks, Path(folder))
        seconds["pack"] = time.perf_counter() - started
        started = time.perf_counter()
        device = _on_the_device(path)
        seconds["device"] = time.perf_counter() - started
        size = path.stat().st_size
    return {
        "name": name,
        "parameters": plan.parameters,
        "blocks": len(plan.blocks),
        "layers": sum(len(b.layers) for b in plan.blocks),
        "trunk_layers": len(plan.trunk_layers),
        "removable_parameters": removable / plan.parameters,
        "flops_gone_at_half": sum(b.removable_flops for b in plan.blocks) / plan.flops,
        "seconds": seconds,
        "peak_bytes": peak,
        "bundle_bytes": size,
        "composed_error": error,
        "device_error": device,
        "opaque": dict(plan.opaque),
        "dense": [row.to_plain() for row in plan.not_prunable],
    }


def _error(found: list[torch.Tensor], model: nn.Module, inputs: list[torch.Tensor]) -> float:
    from legodnn.builder.graph.values import tensors_in

    expected = tensors_in(model(*[x.clone() for x in inputs]))
    pairs = [(a.double(), b.double()) for a, b in zip(found, expected, strict=True)]
    return max(float((a - b).norm() / b.norm().clamp_min(1e-12)) for a, b in pairs)


_DEVICE = """
import sys
sys.modules["torchvision"] = sys.modules["numpy.random"] = None
from legodnn.runtime import Network
worst = max(result.error for result in Network.open(sys.argv[1]).self_test())
print(worst)
"""


def _on_the_device(path: Path) -> float:
    done = subprocess.run(
        [sys.executable, "-c", _DEVICE, str(path)], capture_output=True, text=True, timeout=TIMEOUT, check=False
    )
    if done.returncode:
        raise AssertionError(f"on the device: {done.stderr.strip().splitlines()[-1]}")
    worst = float(done.stdout.split()[-1])
    if not worst <= 1e-4:
        raise AssertionError(f"on the device a selection is off by {worst:.1e}")
    return worst


# ---- the table ----------------------------------------------------------------------------------------------------
HEADER = (
    f"{'network':38} {'params':>8} {'blocks':>6} {'layers':>8} {'removable':>9} {'FLOPs -':>8} "
    f"{'plan s':>7} {'derive s':>8} {'pack s':>7} {'peak':>6} {'error':>8}"
)


def lines(row: dict[str, Any]) -> Iterator[str]:
    """A row as text, and under it what keeps channels apart from the blocks' edges."""
    if "error" in row:
        yield f"{row['name']:38} FAILED: {row['error']}"
        return
    seconds = row["seconds"]
    yield (
        f"{row['name']:38} {row['parameters'] / 1e6:7.1f}M {row['blocks']:6} "
        f"{row['layers']:4}/{row['layers'] + row['trunk_layers']:<3} {row['removable_parameters']:9.0%} "
        f"{row['flops_gone_at_half']:8.0%} {seconds['plan']:7.1f} {seconds['derive']:8.1f} {seconds['pack']:7.1f} "
        f"{row['peak_bytes'] / 2**30:5.1f}G {row['device_error']:8.0e}"
    )
    for name, why in row["opaque"].items():
        yield f"    kept whole: {name} ({why})"
    dense: Counter[str] = Counter()
    for stay in row["dense"]:
        operator = f"{stay['operator']}: " if stay["operator"] else ""
        dense[f"{operator}{stay['why'].partition(' of ')[0]}"] += stay["channels"]
    yield f"    stays: {'; '.join(f'{count:,} {why}' for why, count in dense.most_common())}"


def summary(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """How many pass, and which are beyond what is aimed at."""
    passed = [row for row in rows if "error" not in row]
    failed = [row["name"] for row in rows if "error" in row]
    yield f"{len(passed)} of {len(rows)} networks pass{'; failed: ' if failed else ''}{', '.join(failed)}"
    largest = {row["name"] for row in sorted(passed, key=lambda row: -row["parameters"])[:LARGEST]}
    limits = {name: LARGEST_SECONDS if name in largest else PLAN_SECONDS for name in (row["name"] for row in passed)}
    aims = {
        f"plan takes more than {PLAN_SECONDS} s ({LARGEST_SECONDS} s for the {LARGEST} largest)": [
            f"{row['name']} {row['seconds']['plan']:.1f} s"
            for row in passed
            if row["seconds"]["plan"] > limits[row["name"]]
        ],
        "peak memory above three times the parameters and 1 GiB": [
            f"{row['name']} {row['peak_bytes'] / 2**30:.1f} GiB"
            for row in passed
            if row["peak_bytes"] > 12 * row["parameters"] + 2**30
        ],
        f"less than {SHARE:.0%} of the parameters in channels that may go": [
            f"{row['name']} {row['removable_parameters']:.0%}" for row in passed if row["removable_parameters"] < SHARE
        ],
        "slowest plans": [
            f"{row['name']} {row['seconds']['plan']:.1f} s"
            for row in sorted(passed, key=lambda row: -row["seconds"]["plan"])[:3]
        ],
    }
    for what, names in aims.items():
        yield f"{what}: {', '.join(names) or 'none'}"


if __name__ == "__main__":
    sys.exit(main())
