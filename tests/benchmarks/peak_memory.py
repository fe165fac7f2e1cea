"""The most memory that a build takes, by stage: `python -m tests.benchmarks.peak_memory [--batch N ...] [--json FILE]`.

ResNet-50 of torchvision with random weights for 224 x 224 pixels is built from random images, in a process of its own
for each size of batch, as `legodnn-build` does it.

What the peak does not depend on is small, so that a build takes minutes: a tenth of an epoch, few compositions. Images
are made when they are read, so that the data set takes no memory. The profile keeps activations of test images up to
`recording.RECORDED_BYTES`: the default of ``--test`` fills them.
"""

from __future__ import annotations

import argparse
import json
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
    from torch.utils.data import DataLoader, Dataset

    class Images(Dataset):
        def __init__(self, count, first):
            self.count, self.first = count, first

        def __len__(self):
            return self.count

        def __getitem__(self, index):
            seeded = torch.Generator().manual_seed(self.first + index)
            return torch.rand(3, 224, 224, generator=seeded), index % 1000

    def data(count, batch, first=0):
        return DataLoader(Images(count, first), batch, shuffle=first == 0)

    def network():
        torch.manual_seed(0)
        return torchvision.models.resnet50()
"""

RECIPE = """
    [model]
    factory = "parts_of_peak_memory:network"
    input = [1, 3, 224, 224]
    [data]
    train = {{ factory = "parts_of_peak_memory:data", args = [{train}, {batch}] }}
    test = {{ factory = "parts_of_peak_memory:data", args = [{test}, {batch}, {train}] }}
    [blocks]
    sparsity = {sparsity}
    [distill]
    epochs = 0.1
    closed_form_images = {calibrated}
    [profile]
    compositions = 2
"""

INTERVAL = 0.1
"""Seconds between two looks at the process: the clock of the stages resets its peak, and what lies between two stages
is in no stage."""


def main() -> None:
    """Build once for each size of batch and print a row for each stage, and one for the whole."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--batch", type=int, nargs="+", default=[64, 256], metavar="N", help="images in a batch")
    options.add_argument("--train", type=int, default=2000, metavar="N", help="training images")
    options.add_argument("--test", type=int, default=1100, metavar="N", help="test images")
    options.add_argument("--sparsity", type=float, nargs="+", default=[0, 0.25, 0.5, 0.75], metavar="S")
    options.add_argument("--calibrated", type=int, default=512, metavar="N", help="distill.closed_form_images")
    options.add_argument("--json", metavar="FILE", help="write the rows here, too")
    options.add_argument("--one", metavar="DIR", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.one:
        print(json.dumps(build(Path(given.one))))
        return
    rows: list[dict[str, Any]] = []
    for batch in given.batch:
        for row in measure(batch, given):
            rows.append(row)
            print(json.dumps(row), flush=True)
    if given.json:
        Path(given.json).write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def measure(batch: int, given: argparse.Namespace) -> list[dict[str, Any]]:
    """Build in a child process; a row for each stage, and the last for the whole build. Bytes and seconds."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "parts_of_peak_memory.py").write_text(textwrap.dedent(PARTS), encoding="utf-8")
        recipe = RECIPE.format(**{**vars(given), "batch": batch})
        (folder / "resnet.toml").write_text(textwrap.dedent(recipe), encoding="utf-8")
        started = time.monotonic()
        command = [sys.executable, "-m", "tests.benchmarks.peak_memory", "--one", name]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            highest = 0
            while child.poll() is None:
                highest = max(highest, _peak_of(child.pid))
                time.sleep(INTERVAL)
            assert child.stdout is not None
            printed = child.stdout.read()
        if child.returncode:
            sys.exit(f"the build of batches of {batch} failed with status {child.returncode}")
    stages = json.loads(printed.splitlines()[-1])
    highest = max(highest, *(stage["peak_bytes"] for stage in stages))
    seconds = round(time.monotonic() - started, 1)
    return [{"batch": batch, **stage} for stage in [*stages, _row("the whole build", highest, seconds)]]


def _peak_of(process: int) -> int:
    """The peak of a process's resident bytes since the process reset it; 0 where it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return 0
    return max((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), default=0)


def _row(stage: str, peak: int, seconds: float) -> dict[str, Any]:
    return {"stage": stage, "peak_bytes": peak, "peak_gib": round(peak / 2**30, 2), "seconds": round(seconds, 1)}


def build(folder: Path) -> list[dict[str, Any]]:
    """Build once in this process; a row for each stage."""
    from legodnn.builder import pipeline
    from legodnn.builder.recipe.load import load_recipe

    recipe = load_recipe(str(folder / "resnet.toml"))
    built = pipeline.build(recipe, folder / "x.lgb", folder / "work", own_process=True)
    return [_row(stage.name, stage.peak_bytes or 0, stage.seconds or 0.0) for stage in built.stages]


if __name__ == "__main__":
    main()
