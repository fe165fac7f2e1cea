"""How fast a composition of originals is, against the whole network in the best ways torch offers.

    python -m tests.benchmarks.composition [--models REGEX] [--threads N ...] [--json FILE]

For each network (random weights, 224 pixels, one image) and number of threads, in a process of its own: the whole
network frozen and with ``optimize_for_inference``, contiguous and channels-last, and the composition in every way the
runtime knows, all taking turns. The ratio is the runtime's chosen way over the fastest of the whole network's. W is
among them where ``LEGODNN_WORKLOAD`` names its folder. ONNX Runtime, where it is installed, runs in processes that
alternate with torch's.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn

from tests.benchmarks.workload_w import load_workload

NETWORKS = ("W", "resnet18", "mobilenet_v2", "mobilenet_v3_large", "lraspp_mobilenet_v3_large", "fcn_resnet50")
ROUNDS, PASSES = 31, 3


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.composition", description=__doc__.splitlines()[0])
    parser.add_argument("--models", metavar="REGEX", default=".", help="only networks whose name matches")
    parser.add_argument("--threads", metavar="N", type=int, nargs="+", default=[1, 2], help="numbers of threads")
    parser.add_argument("--json", metavar="FILE", help="write the rows there as well")
    parser.add_argument("--one", nargs=2, metavar=("NAME", "ENGINE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        name, engine = options.one
        print(json.dumps(with_torch(name) if engine == "torch" else with_onnx(name)))
        return 0
    machine = {"machine": platform.machine(), "cores": os.cpu_count(), "torch": torch.__version__}
    print(" ".join(f"{key} {value}" for key, value in machine.items()), flush=True)
    rows = []
    for name in [n for n in NETWORKS if re.search(options.models, n)]:
        for threads in options.threads:
            passes = [(_run(name, "torch", threads), _run(name, "onnx", threads)) for _ in range(PASSES)]
            rows.append(_row(name, threads, [a for a, _ in passes if a], [b for _, b in passes if b]))
            print(_line(rows[-1]), flush=True)
    if options.json:
        Path(options.json).write_text(json.dumps({**machine, "rows": rows}, indent=1) + "\n", encoding="utf-8")
    return 0


def _run(name: str, engine: str, threads: int) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.composition", "--one", name, engine],
        capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": str(threads)},
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{name} with {engine}: {done.stderr.strip().splitlines()[-1]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _row(name: str, threads: int, torch_passes: list[Any], onnx_passes: list[Any]) -> dict[str, Any]:
    seconds = {way: statistics.median(p[way] for p in torch_passes) for way in torch_passes[0] if way != "chosen"}
    ratios = []
    for found in torch_passes:
        best = min(value for way, value in found.items() if way.startswith("whole"))
        ratios.append(found[f"composed {found['chosen']}"] / best)
    return {
        "name": name,
        "threads": threads,
        "seconds": seconds,
        "chosen": [found["chosen"] for found in torch_passes],
        "ratio": statistics.median(ratios),
        "onnx_seconds": statistics.median(p["onnx"] for p in onnx_passes) if onnx_passes else None,
    }


def _line(row: dict[str, Any]) -> str:
    times = ", ".join(f"{way} {1e3 * value:.2f}" for way, value in sorted(row["seconds"].items(), key=lambda i: i[1]))
    onnx = f"; ONNX Runtime {1e3 * row['onnx_seconds']:.2f}" if row["onnx_seconds"] else ""
    return f"{row['name']} x{row['threads']}: ratio {row['ratio']:.2f} ({row['chosen'][0]}); ms: {times}{onnx}"


def network(name: str) -> tuple[nn.Module, torch.Tensor]:
    """A network in eval mode with an input."""
    if name == "W":
        workload = load_workload()
        return workload.teacher().eval(), workload.images("test", 0, 1)[0]
    from tests.benchmarks.registry import NETWORKS as KNOWN
    from tests.networks import randomised

    torch.manual_seed(0)
    return randomised(KNOWN[name].make()).eval(), torch.rand(KNOWN[name].shape)


def with_torch(name: str) -> dict[str, Any]:
    """Median seconds of the whole network and of the composition in every way, and which way the runtime chose."""
    from legodnn.builder import AutoBlockManager, CommonModelManager
    from legodnn.runtime import Network
    from legodnn.runtime.engine import BACKENDS, time_turns
    from legodnn.shared.errors import CompositionError
    from tests.benchmarks.untrained import untrained_bundle

    warnings.simplefilter("ignore")
    torch.set_grad_enabled(False)
    model, x = network(name)
    runs: dict[str, Callable[..., Any]] = whole(model, x)
    blocks = AutoBlockManager([0.5], model, CommonModelManager(), tuple(x.shape))
    with tempfile.TemporaryDirectory() as folder, Network.open(
        untrained_bundle(blocks, Path(folder)), cache=False
    ) as opened:
        opened(x)
        composer, originals = opened._workshop.ready_composer(), opened.manifest.original_selection
        chosen = str(composer.backend)
        for way in BACKENDS:
            try:
                runs[f"composed {way}"] = composer.compose(originals, way)
            except CompositionError as error:
                print(error, file=sys.stderr)
    time_turns(list(runs.values()), [x], 3)
    columns = zip(*time_turns(list(runs.values()), [x], ROUNDS), strict=True)
    seconds = [statistics.median(column) for column in columns]
    return {**dict(zip(runs, seconds, strict=True)), "chosen": chosen}


def whole(model: nn.Module, x: torch.Tensor) -> dict[str, Callable[..., Any]]:
    """The whole network in the ways torch offers."""
    runs: dict[str, Callable[..., Any]] = {}
    for layout in (torch.contiguous_format, torch.channels_last):
        laid_out = copy.deepcopy(model).to(memory_format=layout)
        given = x.contiguous(memory_format=layout)
        for optimised in (False, True):
            run = torch.jit.freeze(torch.jit.trace(_Tensors(laid_out), given, check_trace=False).eval())
            run = torch.jit.optimize_for_inference(run) if optimised else run
            text = f"whole {str(layout).rpartition('.')[2]} {'optimised' if optimised else 'frozen'}"
            runs[text] = lambda value, run=run, layout=layout: run(value.contiguous(memory_format=layout))
    return runs


class _Tensors(nn.Module):
    """A network whose answer is a dictionary, as one that can be traced."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> Any:
        """The first of the answers."""
        answer = self.inner(x)
        return next(iter(answer.values())) if isinstance(answer, dict) else answer


def with_onnx(name: str) -> dict[str, float]:
    """Median seconds with ONNX Runtime; empty where it is not installed."""
    try:
        import onnxruntime
    except ImportError:
        return {}
    model, x = network(name)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = str(Path(folder) / "network.onnx")
        torch.onnx.export(_Tensors(model), (x,), path, dynamo=False)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        given = {session.get_inputs()[0].name: x.numpy()}
        seconds = []
        for _ in range(ROUNDS + 3):
            started = time.perf_counter()
            session.run(None, given)
            seconds.append(time.perf_counter() - started)
    return {"onnx": statistics.median(seconds[3:])}


if __name__ == "__main__":
    sys.exit(main())
