"""What switching does to inference: `python -m tests.benchmarks.switching [--network NAME] [--json FILE]`.

One thread runs a network with one torch thread, frame after frame. In turns in one process, another thread lets it be,
makes a switch to a selection that has to be composed anew, lets it be again, and switches on and on between two
selections that are kept. Single inferences are compared, each with the median of the same selection's inferences in
the same turn while nobody switches. What is judged is the median over all turns of how many times as long the 99th
percentile is as in the same turn without switching: cores whose speed changes for seconds at a time decide a percentile
over all turns, whoever switches. W's network where ``LEGODNN_WORKLOAD`` names its folder, a ResNet-18 otherwise;
descendants are untrained, which makes no difference to time.
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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import torch

from legodnn.runtime import Network

SPARSITIES = [0.2, 0.4, 0.6, 0.8]
STILL_SECONDS, TURNS = 5.0, 20
"""A slice without switching is as long as W's fresh switch: the longer one is, the more speeds of a core are in it."""

BACK_PAUSE, BACK_SECONDS = 0.5, 2.5
"""Between two switches to what is kept, as often as a controller looks; and for how long they go on in a turn."""

LIMIT = 1.15
CONDITIONS = STILL, FRESH, BACK = "still", "fresh", "back"

Key = tuple[str, ...]


@dataclass
class Times:
    """Seconds of single inferences, by what ran, and of switches under one condition."""

    inferences: list[tuple[Key, float]] = field(default_factory=list)
    switches: list[float] = field(default_factory=list)


@dataclass
class Turn:
    """What one turn found under each condition."""

    times: dict[str, Times] = field(default_factory=lambda: {name: Times() for name in CONDITIONS})

    @cached_property
    def usual(self) -> dict[Key, float]:
        """The usual seconds of each selection, to be asked for once the turn is over."""
        groups: dict[Key, list[float]] = defaultdict(list)
        for key, seconds in self.times[STILL].inferences:
            groups[key].append(seconds)
        return {key: statistics.median(group) for key, group in groups.items()}

    def relative(self, name: str) -> list[float]:
        """How many times what is usual for its selection each inference took, where that is known."""
        return [seconds / self.usual[key] for key, seconds in self.times[name].inferences if key in self.usual]


def row(turns: Sequence[Turn], name: str) -> dict[str, float]:
    """What a condition comes to over all turns: milliseconds, and how many times what is usual."""
    seconds = [seconds for turn in turns for _, seconds in turn.times[name].inferences]
    switches = [seconds for turn in turns for seconds in turn.times[name].switches]
    times = [times for turn in turns for times in turn.relative(name)]
    return {
        "inferences": len(seconds),
        "p50": 1e3 * statistics.median(seconds),
        "p99": 1e3 * percentile(seconds),
        "worst": 1e3 * max(seconds),
        "times_p99": percentile(times),
        "switches": len(switches),
        "switch": 1e3 * statistics.median(switches) if switches else 0.0,
    }


def ratio(turns: Sequence[Turn], name: str) -> float:
    """How many times as long the 99th percentile is under a condition, the median over turns."""
    return statistics.median(percentile(t.relative(name)) / percentile(t.relative(STILL)) for t in turns)


def first_after(turns: Sequence[Turn]) -> float:
    """How many times what is usual the first inference after going back takes: what it needs is in no cache."""
    found = []
    for turn in turns:
        inferences = turn.times[BACK].inferences
        found += [s / turn.usual[key] for (before, _), (key, s) in pairwise(inferences) if key != before]
    return statistics.median(found)


def percentile(numbers: Sequence[float]) -> float:
    """The 99th."""
    return statistics.quantiles(numbers, n=100)[98]


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
        self.turns: list[Turn] = []
        self.reads = Reads()
        self.generator = random.Random(0)
        self.kept = [self.selection() for _ in range(2)]

    def selection(self) -> dict[str, str]:
        """Any."""
        return {b.name: self.generator.choice(b.variants).name for b in self.network.blocks}

    def run(self, turns: int, seconds: float) -> None:
        """All conditions take turns; the first turn does not count."""
        for _ in range(turns + 1):
            self.turns.append(Turn())
            self.network.keep_within = 0.0
            self.network.select(self.selection())
            self.still(seconds)
            self.beside(FRESH, self.switch_fresh)
            self.network.keep_within = float("inf")
            for selection in self.kept:
                self.network.select(selection)
                self.still(BACK_SECONDS / 2)
            self.beside(BACK, self.switch_back, BACK_SECONDS, BACK_PAUSE)
        del self.turns[0]

    def still(self, seconds: float) -> None:
        """Run frames for some time, after some that do not count."""
        for _ in range(20):
            self.network(*self.inputs)
        end = time.perf_counter() + seconds
        self.frames(STILL, lambda: time.perf_counter() >= end)

    def beside(self, name: str, switch: Callable[[], None], seconds: float = 0.0, pause: float = 0.0) -> None:
        """Run frames while another thread switches, once or for some time with pauses."""
        times, end = self.turns[-1].times[name], time.perf_counter() + seconds

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
        inferences = self.turns[-1].times[name].inferences
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
    parser.add_argument("--turns", type=int, default=TURNS, help=f"of all conditions (default {TURNS})")
    parser.add_argument("--seconds", type=float, default=STILL_SECONDS, help="before each fresh switch")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = options.bundle or bundle(options.network, Path(folder))
        with Network.open(path) as network:
            bench = Bench(network)
            bench.run(options.turns, options.seconds)
            way = str(network.way)
    rows = {name: row(bench.turns, name) for name in CONDITIONS}
    ratios = {name: ratio(bench.turns, name) for name in (FRESH, BACK)}
    print(f"{platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}; {way}; milliseconds")
    print("switching  inferences     p50     p99   worst  switches  one takes  p99 / usual  ratio by turns")
    for name, found in rows.items():
        numbers = f"{found['inferences']:10} {found['p50']:7.2f} {found['p99']:7.2f} {found['worst']:7.1f}"
        by_turn = f"{ratios[name]:14.2f}" if name in ratios else ""
        print(f"{name:9}  {numbers} {found['switches']:9} {found['switch']:10.2f} {found['times_p99']:12.2f} {by_turn}")
    first, reads = first_after(bench.turns), bench.reads
    print(f"the first inference after going back takes {first:.2f} times what is usual")
    print(f"segments changed: {reads.changed}, read: {reads.read}; blobs of other segments read: {reads.others}")
    if options.json:
        figures = {"way": way, "conditions": rows, "ratios": ratios, "first": first, "reads": asdict(reads)}
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return int(max(ratios.values()) > LIMIT or reads.others > 0)


if __name__ == "__main__":
    sys.exit(main())
