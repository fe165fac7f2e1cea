"""How long choosing takes: `python -m tests.benchmarks.solver [--json FILE]`.

Made-up networks of ten blocks with five variants: one within a time and a memory budget, twelve and fifty that share
memory and cores. An answer's time is all from the networks' tables to the checked selections: building the program, the
solver's process, reading its answer. What is computed once when an optimiser is made (the networks' frontiers, where
there are several) is timed apart. The cases take turns, each round with other networks and other budgets.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import statistics
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pulp
import torch

from legodnn.runtime import Duty, InfeasibleBudget, JointOptimizer, ScalingOptimizer
from tests.made_up import realistic

ROUNDS, WARM_UP = 41, 2
LIMITS = {1: 15.0, 12: 120.0, 50: 1000.0}
"""Milliseconds that an answer's median may take, by number of networks."""


@dataclass
class Times:
    """Milliseconds of making the optimiser and of its answer, round by round; how many answers were refusals."""

    making: list[float] = field(default_factory=list)
    answer: list[float] = field(default_factory=list)
    refused: int = 0


@dataclass(frozen=True)
class Result:
    """What a case's times come to, in milliseconds."""

    networks: int
    limit: float
    median: float
    p90: float
    worst: float
    making: float
    refused: int
    rounds: int


def one(generator: random.Random, times: Times) -> None:
    """A choice for one network within both budgets."""
    network = realistic(generator)
    whole = ScalingOptimizer(network).choose()
    seconds, size = (generator.uniform(0.4, 0.9) * most for most in (whole.seconds or 0.0, whole.memory_bytes))
    started = time.perf_counter()
    optimizer = ScalingOptimizer(network)
    made = time.perf_counter()
    try:
        optimizer.choose(seconds, size)
    except InfeasibleBudget:
        times.refused += 1
    note(times, started, made)


def several(count: int, generator: random.Random, times: Times) -> None:
    """A choice for several networks with rates, deadlines, weights and shares of the cores of their own."""
    workloads, load, size = [], 0.0, 0
    for _ in range(count):
        network = realistic(generator)
        whole = ScalingOptimizer(network).choose()
        seconds, share = whole.seconds or 0.0, generator.uniform(0.25, 1.0)
        rate = generator.uniform(0.5, 1.5) / (count * share * seconds)
        deadline = generator.uniform(0.5, 1.2) * seconds
        workloads.append(Duty(network, rate, deadline, weight=generator.uniform(0.5, 2), share=share))
        load += rate * share * seconds
        size += whole.memory_bytes
    memory, cores = generator.uniform(0.4, 0.9) * size, min(1.0, generator.uniform(0.4, 0.9) * load)
    started = time.perf_counter()
    optimizer = JointOptimizer(workloads)
    made = time.perf_counter()
    try:
        optimizer.choose(memory, cores=cores)
    except InfeasibleBudget:
        times.refused += 1
    note(times, started, made)


def note(times: Times, started: float, made: float) -> None:
    """Write down a round that ends now."""
    times.answer.append(1000 * (time.perf_counter() - made))
    times.making.append(1000 * (made - started))


def measure(rounds: int) -> list[Result]:
    """Time all cases, taking turns."""
    times = {count: Times() for count in LIMITS}
    for turn in range(-WARM_UP, rounds):
        for count in LIMITS:
            generator, target = random.Random(1000 * turn + count), times[count] if turn >= 0 else Times()
            if count == 1:
                one(generator, target)
            else:
                several(count, generator, target)
    return [
        Result(
            count,
            limit,
            statistics.median(times[count].answer),
            statistics.quantiles(times[count].answer, n=10)[-1],
            max(times[count].answer),
            statistics.median(times[count].making),
            times[count].refused,
            rounds,
        )
        for count, limit in LIMITS.items()
    ]


def main() -> int:
    """Measure and print; 1 where a median is above its limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures here too")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"answers per case (default {ROUNDS})")
    options = parser.parse_args()
    results = measure(options.rounds)
    print(f"{platform.machine()}, Python {platform.python_version()}, PuLP {pulp.__version__}; milliseconds")
    print("networks  median     p90   worst   limit  making it  nothing fits")
    for r in results:
        verdict = "" if r.median <= r.limit else "  above the limit"
        numbers = f"{r.networks:8} {r.median:7.1f} {r.p90:7.1f} {r.worst:7.1f} {r.limit:7.0f} {r.making:10.1f}"
        print(f"{numbers}  {r.refused:6} of {r.rounds}{verdict}")
    if options.json:
        options.json.write_text(json.dumps([asdict(r) for r in results], indent=1) + "\n", encoding="utf-8")
    return int(any(r.median > r.limit for r in results))


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
