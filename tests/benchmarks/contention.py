"""Two networks that must keep up while the device is taken away from them: `python -m tests.benchmarks.contention`.

resnet18 and mobilenet_v2 (224 pixels, random weights, blocks at sparsities 0, 0.2, 0.4, 0.6, 0.8 with made-up losses)
get frames at fixed rates, each in a thread of its own with one torch thread. Another process takes 0, 50 and 100 % of a
core in turns of ten seconds, and every five seconds the memory there is for both is elsewhere between what the smallest
selections need and what the full networks do. A frame is missed where its answer comes after the next frame is due,
where it was not begun by then, or where there is less memory than for what runs and what is kept for the way back. The
first second after each change is left out.

Runs of the same length compare the controller with the full networks, the smallest, and the best fixed selections for
the tightest memory and several shares of the cores. Accuracy is what the bundles predict of what runs, averaged over
all frames; a missed frame counts as none. Of the controller's frames it is said how many came while a composition was
being made, and how many of those were missed. What the machine itself contributes is measured beside it: the frames
that the full networks miss without any load and with all the memory there is.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch

from legodnn.runtime import (
    Budget,
    Callback,
    Choice,
    Duty,
    InfeasibleBudget,
    JointController,
    JointOptimizer,
    LatencyEstimator,
    Network,
    Processor,
    ScalingOptimizer,
    Tightest,
)
from legodnn.runtime.controller.chooser import Chooser
from legodnn.runtime.device.memory_table import needed_together
from legodnn.runtime.engine import Composition

NETWORKS, SPARSITIES = ("resnet18", "mobilenet_v2"), (0.0, 0.2, 0.4, 0.6, 0.8)
UTILISATION = 0.7
"""The share of one core that a full network needs for its rate."""
LOADS, LOAD_SECONDS = (0.0, 0.5, 1.0), 10.0
MEMORY_SHARES, MEMORY_SECONDS = (1.0, 0.3, 0.6, 0.15, 0.8, 0.4), 5.0
SETTLING = 1.0
CORES = (0.7, 0.5, 0.35, 0.25)
"""Shares of the cores' time that fixed selections are chosen for."""
MOST_CORES, SLACK = 0.9, 0.75
"""What the controller is told there is of the cores, and of the time between two frames: the rest is the system's."""
MOST_MISSED = 0.02
ALONE = "full, nothing beside it"


class Frame(NamedTuple):
    """When a frame was due, the accuracy of its answer or None, and whether a composition was made meanwhile."""

    due: float
    accuracy: float | None
    composing: bool


@dataclass
class Stream:
    """A network with its rate, and what became of its frames."""

    network: Network
    period: float
    frames: list[Frame] = field(default_factory=list)
    known: dict[tuple[str, ...], Choice] = field(default_factory=dict)
    composing: bool = False

    def __post_init__(self) -> None:
        """Notice when a composition is made."""
        select = self.network.select

        def noticed(selection: Mapping[str, str]) -> Composition:
            self.composing = dict(selection) not in self.network.loaded
            try:
                return select(selection)
            finally:
                self.composing = False

        self.network.select = noticed  # type: ignore[method-assign]

    @property
    def workload(self) -> Duty:
        """What it has to do, on one of two cores."""
        return Duty(self.network, 1 / self.period, SLACK * self.period, share=0.5)

    def choice(self) -> Choice:
        """What runs now."""
        selection = self.network.selection
        key = tuple(selection.values())
        if key not in self.known:
            self.known[key] = Chooser(ScalingOptimizer(self.network), strict=False).describe(selection)
        return self.known[key]

    def run(self, memory: Memory, started: float, seconds: float) -> None:
        """Frames at the rate, for some seconds."""
        inputs, number = self.network.sample_inputs(), 0
        while number * self.period < seconds:
            due = started + number * self.period
            time.sleep(max(0.0, due - time.perf_counter()))
            choice, accuracy = self.choice(), None
            composing = memory.composing()
            if time.perf_counter() < due + self.period:
                self.network(*inputs)
                in_time = time.perf_counter() <= due + self.period
                if in_time and memory.used() <= memory.limit(due - started):
                    accuracy = choice.accuracy
            self.frames.append(Frame(due - started, accuracy, composing or memory.composing()))
            number += 1


class Memory:
    """What there is for all networks together, what they use, and whether they are taking more."""

    def __init__(self, streams: Sequence[Stream]) -> None:
        self._streams = streams
        self.unlimited = False
        self._least = sum(ScalingOptimizer(s.network).minimum_bytes() for s in streams)
        self._full = sum(ScalingOptimizer(s.network).choose().memory_bytes for s in streams)

    def limit(self, elapsed: float) -> float:
        """Bytes there are some seconds after the start."""
        if self.unlimited:
            return math.inf
        return self.within(MEMORY_SHARES[int(elapsed / MEMORY_SECONDS) % len(MEMORY_SHARES)])

    def within(self, share: float) -> float:
        """Bytes a share of the way from what the smallest selections need to what the full networks do."""
        return self._least + share * (self._full - self._least)

    def used(self) -> int:
        """Bytes of what runs now and of what is kept for the way back.

        Variants that stay loaded have less than a hundredth of that beside it, which no prediction is as exact as.
        """
        networks = [s.network for s in self._streams]
        return sum(needed_together(n.manifest, n.loaded, n.memory) for n in networks)

    def composing(self) -> bool:
        """Whether a composition is being made for any of them."""
        return any(s.composing for s in self._streams)


def main() -> int:
    """Measure and print; 1 where the controller misses too much or is beaten."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures here too")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each run (default 60)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    warnings.simplefilter("ignore")
    print(f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, {options.seconds:g} s each")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as opened:
        streams = [opened.enter_context(_opened(name, Path(folder))) for name in NETWORKS]
        ready = [_stream(network) for network in streams]
        memory = Memory(ready)
        rows = {"controller": controlled(ready, memory, options.seconds)}
        for name, selections in fixed(ready, memory).items():
            rows[name] = run(ready, memory, options.seconds, selections)
        memory.unlimited = True
        full = [s.network.manifest.original_selection for s in ready]
        rows[ALONE] = run(ready, memory, options.seconds / 3, full, loads=[0.0])
    for name, row in rows.items():
        figures = f"missed {row['missed']:6.1%}   accuracy {row['accuracy']:.4f}   {row['selections']} selections"
        print(f"{name:24} {figures}")
    mine = rows["controller"]
    beside = f"{mine['missed_beside_composing']:.1%} of the {mine['beside_composing']} beside a composition being made"
    print(f"of the controller's {mine['frames']} frames missed: {beside}, {mine['missed_otherwise']:.1%} of the others")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    del rows["controller"]
    del rows[ALONE]
    rivals = [row["accuracy"] for row in rows.values() if row["missed"] <= max(MOST_MISSED, mine["missed"])]
    return int(mine["missed"] > MOST_MISSED or mine["accuracy"] <= max(rivals, default=0.0))


def _opened(name: str, folder: Path) -> Network:
    from legodnn.builder import AutoBlockManager, CommonModelManager
    from tests.benchmarks.composition import network
    from tests.benchmarks.untrained import untrained_bundle

    model, x = network(name)
    (folder / name).mkdir()
    blocks = AutoBlockManager(list(SPARSITIES), model, CommonModelManager(), tuple(x.shape))
    return Network.open(untrained_bundle(blocks, folder / name), cache=False)


def _stream(network: Network) -> Stream:
    table = LatencyEstimator(network).profile_all_blocks()
    return Stream(network, table.predict(network.manifest.original_selection) / UTILISATION)


def fixed(streams: Sequence[Stream], memory: Memory) -> dict[str, list[dict[str, str]]]:
    """Selections that never change, by name."""
    smallest = [{b.name: min(b.variants, key=lambda v: v.flops).name for b in s.network.blocks} for s in streams]
    found = {"full": [s.network.manifest.original_selection for s in streams], "smallest": smallest}
    optimizer = JointOptimizer([s.workload for s in streams])
    for cores in CORES:
        try:
            best = optimizer.choose(memory.within(min(MEMORY_SHARES)), cores=cores)
        except InfeasibleBudget as refusal:
            print(f"fixed, {cores:.0%} of the cores: {refusal}")
            continue
        found[f"fixed, {cores:.0%} of the cores"] = [choice.selection for choice in best.choices]
    return found


def controlled(streams: Sequence[Stream], memory: Memory, seconds: float) -> dict[str, Any]:
    """A run with a controller that knows the memory limits and watches the processor."""
    started = time.perf_counter() + 2.0

    def budget() -> Budget:
        return Budget(memory_bytes=memory.limit(max(0.0, time.perf_counter() - started)))

    source = Tightest(Callback(budget), Processor(len(streams), worst=True))
    workloads = [s.workload for s in streams]
    with JointController(workloads, source, cores=MOST_CORES, interval=0.05, dwell=1.5, worth=0.05):
        return run(streams, memory, seconds, None, started)


def run(
    streams: Sequence[Stream],
    memory: Memory,
    seconds: float,
    selections: Sequence[dict[str, str]] | None,
    started: float = 0.0,
    loads: Sequence[float] = LOADS,
) -> dict[str, Any]:
    """Both networks at their rates beside the load; what became of their frames."""
    for stream, selection in zip(streams, selections or [None] * len(streams), strict=True):
        stream.frames.clear()
        if selection is not None:
            stream.network.keep_within = 0.0
            stream.network.select(selection)
    started = started or time.perf_counter() + 1.0
    clock = time.time() + started - time.perf_counter()  # the one that processes share
    command = [sys.executable, "-m", "tests.benchmarks.load", clock, seconds, LOAD_SECONDS, *loads]
    load = subprocess.Popen([str(word) for word in command])
    seen: set[tuple[str, ...]] = set()
    threads = [threading.Thread(target=s.run, args=(memory, started, seconds)) for s in streams]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        seen.update(tuple(s.network.selection.values()) for s in streams)
        time.sleep(0.1)
    load.wait()
    frames = [frame for s in streams for frame in s.frames if frame.due % MEMORY_SECONDS >= SETTLING]
    beside = [frame for frame in frames if frame.composing]
    return {
        "missed": missed(frames),
        "accuracy": statistics.fmean(frame.accuracy or 0.0 for frame in frames),
        "frames": len(frames),
        "beside_composing": len(beside),
        "missed_beside_composing": missed(beside),
        "missed_otherwise": missed([frame for frame in frames if not frame.composing]),
        "selections": len(seen),
    }


def missed(frames: Sequence[Frame]) -> float:
    """The share of frames that were."""
    return statistics.fmean(frame.accuracy is None for frame in frames) if frames else 0.0


if __name__ == "__main__":
    sys.exit(main())
