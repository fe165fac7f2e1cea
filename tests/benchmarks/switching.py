"""What switching does to inference: `python -m tests.benchmarks.switching [--network NAME] [--json FILE]`.

One thread runs a network with one torch thread, frame after frame. In slices that take turns in one process, another
thread lets it be, switches on and on to selections that have to be composed anew, or switches on and on between two
that are kept. What is compared are the times of single inferences. W's network where ``LEGODNN_WORKLOAD`` names its
folder, a ResNet-18 otherwise; descendants are untrained, which makes no difference to time.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from legodnn.runtime import Network

SPARSITIES = [0.2, 0.4, 0.6, 0.8]
SLICE_SECONDS, ROUNDS = 1.5, 8
BACK_PAUSE = 0.1
"""Seconds between two switches to what is kept: without, nothing but switching would be done."""

LIMIT = 1.15
STILL, FRESH, BACK = "still", "fresh", "back"


@dataclass
class Times:
    """Seconds of single inferences and of switches under one condition."""

    inferences: list[float] = field(default_factory=list)
    switches: list[float] = field(default_factory=list)

    def row(self) -> dict[str, float]:
        """What they come to, in milliseconds."""
        quantiles = statistics.quantiles(self.inferences, n=100)
        return {
            "inferences": len(self.inferences),
            "p50": 1e3 * statistics.median(self.inferences),
            "p99": 1e3 * quantiles[98],
            "worst": 1e3 * max(self.inferences),
            "switches": len(self.switches),
            "switch": 1e3 * statistics.median(self.switches) if self.switches else 0.0,
        }


@dataclass
class Reads:
    """Blobs read while a switch is made, beside those of the segments it changes."""

    changed: int = 0
    read: int = 0
    others: int = 0


class Bench:
    """A network, and what is done to it."""

    def __init__(self, network: Network) -> None:
        self.network, self.inputs = network, network.sample_inputs()
        self.times = {STILL: Times(), FRESH: Times(), BACK: Times()}
        self.reads = Reads()
        self.generator = random.Random(0)
        self.kept = [self.selection() for _ in range(2)]

    def selection(self) -> dict[str, str]:
        """Any."""
        return {b.name: self.generator.choice(b.variants).name for b in self.network.blocks}

    def run(self, rounds: int, seconds: float) -> None:
        """All conditions take turns; the first round does not count."""
        kinds: dict[str, Callable[[], None] | None] = {STILL: None, FRESH: self.switch_fresh, BACK: self.switch_back}
        for turn in range(rounds + 1):
            for name, switch in kinds.items():
                self.slice(name, switch, seconds)
            if turn == 0:
                self.times = {name: Times() for name in kinds}

    def slice(self, name: str, switch: Callable[[], None] | None, seconds: float) -> None:
        """Run frames for some time while another thread switches."""
        network, inputs, times = self.network, self.inputs, self.times[name]
        network.keep_within = float("inf") if name == BACK else 0.0
        for selection in self.kept:
            network.select(selection)
        stop = threading.Event()

        def keep_switching() -> None:
            while switch is not None and not stop.is_set():
                started = time.perf_counter()
                switch()
                times.switches.append(time.perf_counter() - started)
                if name == BACK:
                    time.sleep(BACK_PAUSE)

        for _ in range(20):
            network(*inputs)
        other = threading.Thread(target=keep_switching)
        other.start()
        end = time.perf_counter() + seconds
        while (started := time.perf_counter()) < end:
            network(*inputs)
            times.inferences.append(time.perf_counter() - started)
        stop.set()
        other.join()

    def switch_fresh(self) -> None:
        """Switch in the background to something that is not in memory, and wait."""
        old, new = self.network.selection, self.selection()
        with self.blobs() as read:
            self.network.select_later(new).result()
        manifest = self.network.manifest
        changed = [manifest.segment(b).variant(new[b]).archive for b in new if new[b] != old[b]]
        expected = {number for archive in changed for number in (archive.program, archive.tensors)}
        self.reads.changed += len(changed)
        self.reads.read += len(set(read) & expected) // 2
        self.reads.others += len(set(read) - expected)

    def switch_back(self) -> None:
        """Switch in the background to what is kept, and wait."""
        self.network.select_later(next(s for s in self.kept if s != self.network.selection)).result()

    @contextmanager
    def blobs(self) -> Iterator[list[int]]:
        """The numbers of all blobs that are read within this."""
        reader, read = self.network.reader, []
        blob = reader.blob
        reader.blob = lambda number: (read.append(number), blob(number))[1]  # type: ignore[method-assign]
        try:
            yield read
        finally:
            del reader.blob


def bundle(name: str, folder: Path) -> Path:
    """A bundle of untrained descendants."""
    from legodnn.builder import AutoBlockManager, CommonModelManager
    from tests.benchmarks.composition import network
    from tests.benchmarks.untrained import untrained_bundle

    model, x = network(name)
    return untrained_bundle(AutoBlockManager(SPARSITIES, model, CommonModelManager(), tuple(x.shape)), folder)


def main() -> int:
    """Measure and print; 1 where inferences take too long while another thread switches."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures here too")
    parser.add_argument("--network", default="W" if "LEGODNN_WORKLOAD" in os.environ else "resnet18")
    parser.add_argument("--bundle", metavar="FILE", type=Path, help="a bundle to use instead of one made for it")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"slices of each kind (default {ROUNDS})")
    parser.add_argument("--seconds", type=float, default=SLICE_SECONDS, help="of a slice")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = options.bundle or bundle(options.network, Path(folder))
        with Network.open(path) as network:
            bench = Bench(network)
            bench.run(options.rounds, options.seconds)
            way = str(network.way)
    rows = {name: times.row() for name, times in bench.times.items()}
    ratios = {name: rows[name]["p99"] / rows[STILL]["p99"] for name in (FRESH, BACK)}
    print(f"{platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}; {way}; milliseconds")
    print("switching  inferences     p50     p99   worst  switches  one takes  ratio of p99")
    for name, row in rows.items():
        numbers = f"{row['inferences']:10} {row['p50']:7.2f} {row['p99']:7.2f} {row['worst']:7.1f}"
        ratio = f"{ratios[name]:13.2f}" if name in ratios else ""
        print(f"{name:9}  {numbers} {row['switches']:9} {row['switch']:10.2f} {ratio}")
    reads = bench.reads
    print(f"segments changed: {reads.changed}, read: {reads.read}; blobs of other segments read: {reads.others}")
    if options.json:
        found = {"way": way, "conditions": rows, "ratios": ratios, "reads": asdict(reads)}
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return int(max(ratios.values()) > LIMIT or reads.others > 0)


if __name__ == "__main__":
    sys.exit(main())
