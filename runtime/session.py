"""What `legodnn-run` does once its arguments are understood: open, test, choose, run.

One request is one bundle. More bundles under one budget are more networks opened in `run`, one choice for all of them
in `_choose`, and a `Feed` for each; another way to show results is another class with `Reporter`'s methods.
"""

from __future__ import annotations

import contextlib
import warnings
from dataclasses import dataclass
from typing import Optional

import torch

from legodnn.runtime.feed import Feed
from legodnn.runtime.frames.opening import open_source
from legodnn.runtime.frames.pacing import pace
from legodnn.runtime.frames.pixels import PixelFormat
from legodnn.runtime.frames.samples import Samples
from legodnn.runtime.frames.source import Source
from legodnn.runtime.latency import LatencyEstimator
from legodnn.runtime.network import Network
from legodnn.runtime.optimizer import ScalingOptimizer
from legodnn.runtime.report import (
    Reporter,
    choice_facts,
    choice_text,
    describe,
    info_text,
    offers,
    offers_text,
    self_test_facts,
)
from legodnn.runtime.stopping import Stopping
from legodnn.shared.errors import BundleError


@dataclass(frozen=True)
class Request:
    """What the command line asks for, understood and checked.

    ``seconds`` and ``memory`` (bytes) are the budgets, ``input`` where frames come from (None: the bundle's samples),
    ``pixels`` what raw frames are (None: tensors), ``fps`` the pace, ``frames`` the number to stop after.
    """

    bundle: str
    seconds: Optional[float] = None
    memory: Optional[int] = None
    input: Optional[str] = None
    pixels: Optional[PixelFormat] = None
    fps: Optional[float] = None
    frames: Optional[int] = None
    threads: Optional[int] = None
    info: bool = False
    self_test: bool = False
    json: bool = False


def run(request: Request) -> int:
    """Do what a request says; returns the exit status. Raises `LegoError`, `OSError`, `KeyboardInterrupt`."""
    # torch says at length that numpy is missing, which a device is meant to do without.
    warnings.filterwarnings("ignore", message="Failed to initialize NumPy")
    if request.threads is not None:
        torch.set_num_threads(request.threads)
    reporter = Reporter(request.json)
    with Stopping() as stopping, Network.open(request.bundle) as network:
        if request.info:
            network.verify()
            facts = describe(network.manifest, request.bundle, network.digest)
            reporter.say("info", facts, info_text(facts))
            return 0
        # Better to know now than after measuring that there is nothing to read.
        with contextlib.closing(_source(request, network)) as source:
            network.verify()
            _self_test(network, reporter, request)
            if request.self_test:
                return 0
            _choose(network, reporter, request)
            feed = Feed(network, pace(source, request.fps), reporter, paced=request.fps is not None)
            feed.run(stopping, request.frames)
    return 0


def _source(request: Request, network: Network) -> Source:
    if request.input is None:
        return Samples(network, repeat=request.frames is not None)
    return open_source(request.input, network, request.pixels)


def _self_test(network: Network, reporter: Reporter, request: Request) -> None:
    results = network.self_test()
    facts = self_test_facts(results)
    if request.self_test or not facts["passed"]:
        worst = max(r.error for r in results)
        reporter.say("self-test", facts, f"self-test: {len(results)} selections, largest relative error {worst:.1e}")
    if not facts["passed"]:
        raise BundleError(
            f"{request.bundle}: this device does not compute what the builder computed; see the self-test above"
        )


def _choose(network: Network, reporter: Reporter, request: Request) -> None:
    table = LatencyEstimator(network).profile_all_blocks(reporter.progress)
    optimizer = ScalingOptimizer(network)
    if request.seconds is None and request.memory is None:
        choices = offers(network, optimizer)
        text = f"what can be had (--memory, --time):\n{offers_text(network, choices)}\n"
        reporter.say("offers", {"offers": [choice_facts(c) for c in choices]}, text)
    choice = optimizer.update_model(request.seconds, request.memory)
    latency = {"latency_error": {"median": table.median_error, "worst": table.worst_error}}
    reporter.say("choice", {**choice_facts(choice), **latency}, choice_text(network, choice))
