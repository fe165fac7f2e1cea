"""Selections timed on this machine, as the device would run them: traced as a whole and frozen, on the CPU.

The times go into the report alone. What the bundle holds must not depend on the machine it was made on.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn as nn
from torch import Tensor

from legodnn.builder.blocks import AutoBlockManager
from legodnn.builder.distill.results import trained_stages
from legodnn.builder.graph.run import Composition, compose
from legodnn.builder.graph.stored import prepare
from legodnn.builder.graph.torchscript import trace
from legodnn.builder.workdir.progress import progress
from legodnn.shared.bundle.manifest import ORIGINAL
from legodnn.shared.errors import ModelError, one_line

LIMIT_SECONDS = 12.0
"""What timing may take altogether; selections that were not reached by then are left out."""

TURNS, RUNS = 7, 3
"""Every selection is timed so many times, in turns with the others, each time as the median of so many runs. The
fastest turn counts: what else runs on the machine makes turns slower, never faster."""


@dataclass(frozen=True)
class Timing:
    """Seconds of an inference for each selection asked for, None where there was no time for it; the threads
    used, and why there are no times at all (empty where there are)."""

    seconds: Sequence[float | None]
    threads: int
    failure: str = ""


def time_selections(
    blocks: AutoBlockManager, trained: Path, selections: Sequence[Mapping[str, str]], precision: str
) -> Timing:
    """Time selections with the weights in ``trained``; the earlier in the list, the likelier to be timed.

    Never raises for a network that cannot be timed: the answer says why.
    """
    try:
        return Timing(_Stopwatch(blocks, trained, precision).time(selections), torch.get_num_threads())
    except Exception as error:  # a manager's own timing may do anything, and a report is no reason to fail
        return Timing([None] * len(selections), torch.get_num_threads(), one_line(error))


class _Stopwatch:
    def __init__(self, blocks: AutoBlockManager, trained: Path, precision: str) -> None:
        self.blocks = blocks
        self.trained = trained_stages(blocks, trained)
        self.precision = precision
        self.samples = [x.cpu() for x in blocks.samples]
        self.prepared: dict[tuple[str, str], nn.Module] = {}
        self.ends = time.monotonic() + LIMIT_SECONDS

    def time(self, selections: Sequence[Mapping[str, str]]) -> list[float | None]:
        """The fastest turn of each; the first selection has one in any case."""
        networks: list[nn.Module] = []
        fastest: list[float | None] = [None for _ in selections]
        with progress("time", len(selections) * TURNS, unit="turn") as bar:
            for turn in range(TURNS):
                for number, selection in enumerate(selections):
                    if networks and self._late():
                        return fastest
                    if turn == 0:
                        networks.append(self._network(selection))
                    seconds = self._run(networks[number])
                    fastest[number] = min(seconds, fastest[number] or seconds)
                    bar.advance()
        return fastest

    def _late(self) -> bool:
        return time.monotonic() > self.ends

    def _run(self, network: nn.Module) -> float:
        seconds = self.blocks.model_manager.get_model_latency(network, RUNS, self.blocks.input_size, "cpu")
        if not (math.isfinite(seconds) and seconds > 0):
            raise ModelError(f"the manager's get_model_latency says {seconds} seconds")
        return seconds

    def _network(self, selection: Mapping[str, str]) -> nn.Module:
        graph = self.blocks.graph
        modules = {s.name: self._module(s.name, selection.get(s.name, ORIGINAL)) for s in graph.segments}
        network = _Timed(compose(graph, modules, {}), len(self.samples)).eval()
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # tracing is deprecated, and what devices run
            frozen: nn.Module = torch.jit.freeze(trace(network, self.samples[0], check_trace=False))
        return frozen

    def _module(self, segment: str, variant: str) -> nn.Module:
        key = (segment, variant)
        if key not in self.prepared:
            found: nn.Module = self.blocks.folded[segment]
            if variant != ORIGINAL:
                found = self.blocks.load(self.trained[variant], segment).module
            self.prepared[key] = prepare(found, self.precision)
        return self.prepared[key]


class _Timed(nn.Module):
    """A composition as it can be traced and timed: it takes one tensor, given to each of its inputs (which are of one
    shape), and returns tensors without the containers the teacher has them in."""

    def __init__(self, network: Composition, inputs: int) -> None:
        super().__init__()
        self.network = network
        self.inputs = inputs

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.network.outputs(*[x] * self.inputs))
