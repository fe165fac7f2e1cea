"""Processor time that a build spends in the system: `python -m tests.benchmarks.page_faults [--runs N] [--json FILE]`.

A MobileNetV2 of torchvision for 160 x 160 pixels is built from random images, in a process of its own each time, in
turns with and without `keep_freed_memory`. Its children are counted. The peak is that of the stages, whose clock resets
what the system counts for the whole process.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from typing import Any

PARTS = """
    import torch
    import torchvision
    from torch.utils.data import DataLoader, TensorDataset

    def data(count=192, seed=0):
        images = torch.rand(count, 3, 160, 160, generator=torch.Generator().manual_seed(seed))
        return DataLoader(TensorDataset(images, torch.arange(count) % 10), 32, shuffle=True)

    def network():
        torch.manual_seed(0)
        return torchvision.models.mobilenet_v2(num_classes=10)
"""

RECIPE = """
    [model]
    factory = "parts_of_page_faults:network"
    input = [1, 3, 160, 160]
    [data]
    train = "parts_of_page_faults:data"
    test = { factory = "parts_of_page_faults:data", kwargs = { count = 64, seed = 1 } }
    [blocks]
    sparsity = [0, 0.3, 0.6]
    [distill]
    epochs = 0.5
    closed_form_images = 64
    [profile]
    compositions = 4
"""


def main() -> None:
    """Run the builds in turns and print a row for each."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--runs", type=int, default=1, metavar="N", help="builds of each kind")
    options.add_argument("--json", metavar="FILE", help="write the rows here, too")
    options.add_argument("--one", choices=("kept", "default"), help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.one:
        print(json.dumps(build(given.one == "kept")))
        return
    rows = []
    for _ in range(given.runs):
        for kind in ("default", "kept"):
            command = [sys.executable, "-m", "tests.benchmarks.page_faults", "--one", kind]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            rows.append(json.loads(done.stdout.splitlines()[-1]))
            print(json.dumps(rows[-1]), flush=True)
    if given.json:
        Path(given.json).write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def build(kept: bool) -> dict[str, Any]:
    """Build once in this process; times in seconds, sizes in bytes."""
    from legodnn.builder import pipeline
    from legodnn.builder.recipe.load import load_recipe
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "parts_of_page_faults.py").write_text(textwrap.dedent(PARTS), encoding="utf-8")
        (folder / "mobile.toml").write_text(textwrap.dedent(RECIPE), encoding="utf-8")
        started = time.monotonic()
        recipe, out = load_recipe(str(folder / "mobile.toml")), folder / "x.lgb"
        built = pipeline.build(recipe, out, folder / "work", timing=False, own_process=kept)
        seconds = time.monotonic() - started
    uses = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    user, system = sum(use.ru_utime for use in uses), sum(use.ru_stime for use in uses)
    return {
        "freed_memory": "kept" if kept else "given back",
        "user_seconds": round(user, 2),
        "system_seconds": round(system, 2),
        "system_share": round(system / (user + system), 4),
        "page_faults": sum(use.ru_minflt for use in uses),
        "peak_bytes": max(stage.peak_bytes or 0 for stage in built.stages),
        "seconds": round(seconds, 1),
    }


if __name__ == "__main__":
    main()
