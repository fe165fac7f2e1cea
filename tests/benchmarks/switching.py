"""What switching does to inference: `python -m tests.benchmarks.switching [--network NAME] [--json FILE]`.

One thread runs a network with one torch thread, frame after frame. In turns in one process, another thread lets it be,
makes a switch to a selection that has to be composed anew, lets it be again, and switches on and on between two
selections that are kept. Single inferences are compared, each with the median of the same selection's inferences while
nobody switches. W's network where ``LEGODNN_WORKLOAD`` names its folder, a ResNet-18 otherwise; descendants are
untrained, which makes no difference to time.
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
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from legodnn.runtime import Network

SPARSITIES = [0.2, 0.4, 0.6, 0.8]
SLICE_SECONDS, ROUNDS = 1.0, 10
BACK_PAUSE = 0.1
"""Seconds between two switches to what is kept: without, nothing but switching would be done."""

LIMIT = 1.15
STILL, FRESH, BACK = "still", "fresh", "back"

Key = tuple[str, ...]


@dataclass
class Times:
    """Seconds of single inferences, by what ran, and of switches under one condition."""

    inferences: list[tuple[Key, float]] = field(default_factory=list)
    switches: list[float] = field(default_factory=list)

    def medians(self) -> dict[Key, float]:
        """The usual seconds of each selection."""
        groups: dict[Key, list[float]] = defaultdict(list)
        for key, seconds in self.inferences:
            groups[key].append(seconds)
        return {key: statistics.median(group) for key, group in groups.items()}

    def row(self, usual: Mapping[Key, float]) -> dict[str, float]:
        """What they come to: milliseconds, and how many times what is usual for the selection."""
        seconds = [seconds for _, seconds in self.inferences]
        times = statistics.quantiles([seconds / usual[key] for key, seconds in self.inferences], n=100)
        return {
            "inferences": len(seconds),
            "p50": 1e3 * statistics.median(seconds),
            "p99": 1e3 * statistics.quantiles(seconds, n=100)[98],
            "worst": 1e3 * max(seconds),
            "times_p50": times[49],
            "times_p99": times[98],
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
        for turn in range(rounds + 1):
            self.network.keep_within = 0.0
            self.network.select(self.selection())
            self.still(seconds)
            self.beside(FRESH, self.switch_fresh)
            self.network.keep_within = float("inf")
            for selection in self.kept:
                self.network.select(selection)
                self.still(seconds / 2)
            self.beside(BACK, self.switch_back, seconds, BACK_PAUSE)
            if turn == 0:
                self.times = {name: Times() for name in self.times}

    def still(self, seconds: float) -> None:
        """Run frames for some time, after some that do not count."""
        for _ in range(20):
            self.network(*self.inputs)
        end = time.perf_counter() + seconds
        self.frames(STILL, lambda: time.perf_counter() >= end)

    def beside(self, name: str, switch: Callable[[], None], seconds: float = 0.0, pause: float = 0.0) -> None:
        """Run frames while another thread switches, once or for some time with pauses."""
        times, end = self.times[name], time.perf_counter() + seconds

        def work() -> None:
            while True:
                started = time.perf_counter()
                switch()
                times.switches.append(time.perf_counter() - started)
                time.sleep(pause)
                if time.perf_counter() >= end:
                    return

        other = threading.Thread(target=work)
        other.start()
        self.frames(name, lambda: not other.is_alive())
        other.join()

    def frames(self, name: str, done: Callable[[], bool]) -> None:
        """Run frame after frame."""
        inferences = self.times[name].inferences
        while not done():
            key = tuple(self.network.selection.values())
            started = time.perf_counter()
            self.network(*self.inputs)
            inferences.append((key, time.perf_counter() - started))

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
    usual = bench.times[STILL].medians()
    rows = {name: times.row(usual) for name, times in bench.times.items()}
    ratios = {name: rows[name]["times_p99"] / rows[STILL]["times_p99"] for name in (FRESH, BACK)}
    print(f"{platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}; {way}; milliseconds")
    print("switching  inferences     p50     p99   worst  switches  one takes  p99 / usual  ratio of that")
    for name, row in rows.items():
        numbers = f"{row['inferences']:10} {row['p50']:7.2f} {row['p99']:7.2f} {row['worst']:7.1f}"
        ratio = f"{ratios[name]:14.2f}" if name in ratios else ""
        print(f"{name:9}  {numbers} {row['switches']:9} {row['switch']:10.2f} {row['times_p99']:12.2f} {ratio}")
    reads = bench.reads
    print(f"segments changed: {reads.changed}, read: {reads.read}; blobs of other segments read: {reads.others}")
    if options.json:
        found = {"way": way, "conditions": rows, "ratios": ratios, "reads": asdict(reads)}
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return int(max(ratios.values()) > LIMIT or reads.others > 0)


if __name__ == "__main__":
    sys.exit(main())
