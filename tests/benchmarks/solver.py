"""How long choosing takes: `python -m tests.benchmarks.solver [--json FILE]`.

Made-up networks of ten blocks with five variants: one within a time and a memory budget, and twelve and fifty that
share memory and cores. Timed is all that an answer takes, from the networks' tables to the checked selections, the solver's
process included. The cases take turns, each round with other networks and budgets.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import pulp

from legodnn.runtime import ScalingOptimizer
from legodnn.runtime.optimizer import Duty, JointOptimizer
from legodnn.shared.errors import InfeasibleBudget
from tests.made_up import realistic

ROUNDS, WARM_UP = 41, 2
CASES = {1: 15.0, 12: 120.0, 50: 1000.0}
"""Milliseconds that the median may take, by number of networks."""


@dataclass(frozen=True)
class Timing:
    """Milliseconds per answer, and how many of the answers were that nothing fits."""

    networks: int
    limit_ms: float
    median_ms: float
    p90_ms: float
    worst_ms: float
    infeasible: int
    rounds: int


def one(generator: random.Random) -> Callable[[], object]:
    """A choice for one network within both budgets."""
    network = realistic(generator)
    optimizer = ScalingOptimizer(network)
    whole = optimizer.choose()
    share = generator.uniform(0.4, 0.9)
    return lambda: optimizer.choose(share * (whole.seconds or 0.0), generator.uniform(0.4, 0.9) * whole.memory_bytes)


def several(count: int, generator: random.Random) -> Callable[[], object]:
    """A choice for several networks with rates, deadlines and weights of their own."""
    duties, load, size = [], 0.0, 0
    for _ in range(count):
        network = realistic(generator)
        whole = ScalingOptimizer(network).choose()
        seconds, share = whole.seconds or 0.0, generator.uniform(0.25, 1.0)
        rate = generator.uniform(0.5, 1.5) / (count * share * seconds)
        deadline = generator.uniform(0.5, 1.2) * seconds
        duties.append(Duty(network, rate, deadline, weight=generator.uniform(0.5, 2), share=share))
        load += rate * share * seconds
        size += whole.memory_bytes
    optimizer = JointOptimizer(duties)
    memory, cores = generator.uniform(0.4, 0.9) * size, min(1.0, generator.uniform(0.4, 0.9) * load)
    return lambda: optimizer.choose(memory, cores=cores)


def measure(rounds: int) -> list[Timing]:
    """Time all cases, taking turns."""
    spent: dict[int, list[float]] = {count: [] for count in CASES}
    refused = dict.fromkeys(CASES, 0)
    for turn in range(rounds + WARM_UP):
        for count in CASES:
            generator = random.Random(1000 * turn + count)
            choose = one(generator) if count == 1 else several(count, generator)
            started = time.perf_counter()
            try:
                choose()
            except InfeasibleBudget:
                refused[count] += turn >= WARM_UP
            if turn >= WARM_UP:
                spent[count].append(1000 * (time.perf_counter() - started))
    return [
        Timing(
            count,
            CASES[count],
            statistics.median(times),
            statistics.quantiles(times, n=10)[-1],
            max(times),
            refused[count],
            rounds,
        )
        for count, times in spent.items()
    ]


def main() -> int:
    """Measure and print; 1 where a median is above its limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures here too")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"answers per case (default {ROUNDS})")
    options = parser.parse_args()
    timings = measure(options.rounds)
    print(f"{platform.machine()}, Python {platform.python_version()}, PuLP {pulp.__version__}; milliseconds per answer")
    print("networks  median    p90  worst  limit  infeasible")
    for t in timings:
        verdict = "" if t.median_ms <= t.limit_ms else "  above the limit"
        numbers = f"{t.networks:8}  {t.median_ms:6.1f} {t.p90_ms:6.1f} {t.worst_ms:6.1f} {t.limit_ms:6.0f}"
        print(f"{numbers}  {t.infeasible:3} of {t.rounds}{verdict}")
    if options.json:
        options.json.write_text(json.dumps([asdict(t) for t in timings], indent=1) + "\n", encoding="utf-8")
    return int(any(t.median_ms > t.limit_ms for t in timings))


if __name__ == "__main__":
    sys.exit(main())
