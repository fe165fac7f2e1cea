"""What `--plan` says a build takes beside what it took: `python -m tests.benchmarks.costs [--only NAME] [--json FILE]`.

Each network is planned and then built from nothing, as a user would, in processes of their own, one after the other.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from legodnn.shared.units import parse_bytes, parse_seconds

PARTS = """
    import torch
    import torchvision
    from torch.utils.data import DataLoader, Dataset

    class Images(Dataset):
        def __init__(self, count, size):
            self.count, self.size = count, size
        def __len__(self):
            return self.count
        def __getitem__(self, index):
            generator = torch.Generator().manual_seed(index)
            return torch.rand(3, self.size, self.size, generator=generator), index % 10

    def data(count, size, batch=32):
        return DataLoader(Images(count, size), batch, shuffle=True)

    def network(name):
        torch.manual_seed(0)
        return getattr(torchvision.models, name)(num_classes=10)
"""

RECIPE = """
    [model]
    factory = "parts_of_costs:network"
    args = ["{name}"]
    input = [1, 3, {size}, {size}]
    [data]
    train = {{ factory = "parts_of_costs:data", args = [{train}, {size}] }}
    test = {{ factory = "parts_of_costs:data", args = [{test}, {size}] }}
    [blocks]
    sparsity = [0, 0.3, 0.6]
    [distill]
    epochs = {epochs}
    [profile]
    compositions = 4
"""

TORCHVISIONS = {
    "mobilenet_v2, 160 px": {"name": "mobilenet_v2", "size": 160, "train": 256, "test": 64, "epochs": 1},
    "resnet18, 160 px": {"name": "resnet18", "size": 160, "train": 256, "test": 64, "epochs": 2},
    "resnet50, 224 px": {"name": "resnet50", "size": 224, "train": 128, "test": 64, "epochs": 0.5},
}
"""Networks with random weights, and data of random images."""

BUILT_IN = {"image-classification": ["--set", "teacher.epochs=1"]}
"""Recipes that come along, whose teacher is trained."""


def main() -> None:
    """Plan and build each, and print a row."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--only", action="append", choices=[*TORCHVISIONS, *BUILT_IN], help="this one (repeatable)")
    options.add_argument("--json", metavar="FILE", help="write the rows here, too")
    given = options.parse_args()
    rows = []
    for name in given.only or [*TORCHVISIONS, *BUILT_IN]:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(compared(name, Path(folder)))
        print(json.dumps(rows[-1]), flush=True)
    if given.json:
        Path(given.json).write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def compared(name: str, folder: Path) -> dict[str, Any]:
    """A row: of time by stage, peak memory and disk what was said and what it was; seconds and bytes."""
    arguments = [name, *BUILT_IN.get(name, ())]
    if name in TORCHVISIONS:
        (folder / "parts_of_costs.py").write_text(textwrap.dedent(PARTS), encoding="utf-8")
        (folder / "recipe.toml").write_text(textwrap.dedent(RECIPE).format(**TORCHVISIONS[name]), encoding="utf-8")
        arguments = [str(folder / "recipe.toml")]
    command = [sys.executable, "-m", "legodnn.builder", *arguments]
    said = json.loads(_output([*command, "--plan", "--json"]))["build"]
    watch = Watch(folder / "x.lgb.work")
    stages = stages_of(_output([*command, "-o", str(folder / "x.lgb"), "--no-timing"]))
    row: dict[str, Any] = {"network": name}
    for stage, seconds in said["seconds"].items():
        row[f"{stage}_seconds_said"], row[f"{stage}_seconds"] = round(seconds, 1), stages[stage][0]
    row["peak_bytes_said"] = said["memory_bytes"]
    row["peak_bytes"] = max(peak for _, peak in stages.values())
    row["work_bytes_said"], row["work_bytes"] = said["disk"]["work"], watch.end()
    row["bundle_bytes_said"], row["bundle_bytes"] = said["disk"]["bundle"], (folder / "x.lgb").stat().st_size
    return row


def stages_of(output: str) -> dict[str, tuple[float, int]]:
    """Seconds and peak bytes by stage, from the table that a build prints."""
    found = re.findall(r"^(\w+) +([\d.e+]+ \w+) +([\d.]+ \w+)", output, re.MULTILINE)
    return {stage: (parse_seconds(seconds), parse_bytes(peak)) for stage, seconds, peak in found}


def _output(command: Sequence[str]) -> str:
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


class Watch:
    """The most bytes that a folder has held, looked at five times a second until the `end`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.most = folder, 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            self.most = max(self.most, self._size())
            time.sleep(0.2)

    def _size(self) -> int:
        return sum(map(_bytes, self.folder.rglob("*")))

    def end(self) -> int:
        """Stop; the most bytes."""
        self._stop.set()
        self._thread.join()
        return self.most


def _bytes(file: Path) -> int:
    """A file's size; 0 for one that was renamed meanwhile, which is counted under its other name or the next time."""
    try:
        return file.stat().st_size if file.is_file() else 0
    except FileNotFoundError:
        return 0


if __name__ == "__main__":
    main()
