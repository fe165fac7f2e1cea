"""Runs a request: open, test, measure, choose, run."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, ContextManager, Optional, Sequence, Union

import torch

from legodnn.runtime.command.adapting import Adapting
from legodnn.runtime.command.choosing import Alone, Shared
from legodnn.runtime.command.feed import Feed
from legodnn.runtime.command.live.reporter import Live, Subject
from legodnn.runtime.command.live.terminal import usable
from legodnn.runtime.command.report import Progress, Reporter, describe, info_text, self_test_text, self_test_values
from legodnn.runtime.command.request import Job, Request
from legodnn.runtime.command.stopping import Stopping
from legodnn.runtime.command.together import run_together
from legodnn.runtime.controller import Budget
from legodnn.runtime.frames.opening import open_source
from legodnn.runtime.frames.pacing import pace
from legodnn.runtime.frames.samples import Samples
from legodnn.runtime.frames.source import FrameSource
from legodnn.runtime.network import Network
from legodnn.runtime.profiling.latency import LatencyEstimator
from legodnn.runtime.profiling.memory import MemoryEstimator
from legodnn.shared.console import Exit
from legodnn.shared.errors import BundleError

if TYPE_CHECKING:
    from legodnn.runtime.command.render.renderer import Renderer


def run(request: Request) -> int:
    """Run a request; returns the exit status. Raises `LegoError`, `OSError`, `KeyboardInterrupt`."""
    # torch warns that numpy is missing, which devices do without.
    warnings.filterwarnings("ignore", message="Failed to initialize NumPy")
    if isinstance(sys.stdout, io.TextIOWrapper):  # an encoding may lack ± and letters of labels
        sys.stdout.reconfigure(errors="replace")
    if request.threads is not None:
        torch.set_num_threads(request.threads)
    reporter = _reporter(request)
    with Stopping() as stopping, contextlib.ExitStack() as open_things:
        members = [
            _Member(job, open_things.enter_context(Network.open(job.bundle)), job.name if request.several else None)
            for job in request.jobs
        ]
        if request.info:
            for member in members:
                member.inform(reporter)
            return Exit.DONE
        if request.evaluate is not None:
            _evaluate(request.evaluate, request, members[0], reporter, stopping)
            return Exit.DONE
        # Before measuring, so that errors in sources show at once; a self-test alone needs none.
        fed = [m for m in members if m.job.input is not None or not request.self_test]
        sources = [open_things.enter_context(contextlib.closing(m.source(request.frames))) for m in fed]
        renderers = [member.renderer(request.render) for member in members]
        adapting = _adapting(request, members, reporter)
        if adapting is not None:
            open_things.enter_context(contextlib.closing(adapting))
        if request.self_test:
            return _self_test(members, reporter)
        for member in members:
            member.require_test(reporter)
        for member in members:
            member.measure(reporter, request.measure)
        feeds = [m.feed(source, reporter, renderer) for m, source, renderer in zip(members, sources, renderers)]
        _Run(request, members, feeds, reporter, adapting, stopping).go()
    return Exit.DONE


def _self_test(members: "Sequence[_Member]", reporter: Reporter) -> int:
    """Test every network; those that fail are named on stderr."""
    failed = [member for member in members if not member.test(reporter, report=True)]
    for member in failed:
        reporter.complain(member.failure)
    return Exit.NOT_AS_ASKED if failed else Exit.DONE


def _evaluate(path: str, request: Request, member: "_Member", reporter: Reporter, stopping: Stopping) -> None:
    """Evaluate the best selection within the budgets on a data set."""
    from legodnn.runtime.command.evaluate import Evaluation  # imports data sets; other runs start sooner without

    evaluation = Evaluation(member.network, path, reporter, request.threshold)
    member.require_test(reporter)
    member.measure(reporter, request.measure)
    choosing = Alone(member.network, request)
    choosing.choose(switch=True)
    choosing.report(reporter)
    evaluation.run(stopping)


def _reporter(request: Request) -> Reporter:
    if request.json or request.plain or request.evaluate is not None or not usable(sys.stdout, os.environ):
        return Reporter(request.json)
    return Live(sys.stdout, colours=not os.environ.get("NO_COLOR"))


def _adapting(request: Request, members: "Sequence[_Member]", reporter: Reporter) -> Optional[Adapting]:
    if request.adaptation is None:
        return None
    return Adapting(request.adaptation, request, [member.network for member in members], reporter)


@dataclass(frozen=True)
class _Member:
    """A network and its job; ``name`` is None for the only network."""

    job: Job
    network: Network
    name: Optional[str]

    def inform(self, reporter: Reporter) -> None:
        """Report the bundle's description."""
        self.network.verify()
        description = describe(self.network, self.job.bundle)
        reporter.say("info", description, info_text(description), self.name)

    def source(self, frames: Optional[int]) -> FrameSource:
        """Its source of frames; samples repeat if a number of ``frames`` is given."""
        if self.job.input is None:
            return Samples(self.network, repeat=frames is not None)
        return open_source(self.job.input, self.network, self.job.pixels)

    @property
    def failure(self) -> str:
        """The message of a self-test that failed."""
        return f"{self.job.bundle}: this device does not compute what the builder computed; see the self-test above"

    def test(self, reporter: Reporter, report: bool) -> bool:
        """Run the self-test; whether it passed. The result is reported with ``report``, and where it failed."""
        self.network.verify()
        self.network.find_way(Progress("backends", self.name))
        values = self_test_values(self.network.self_test(), self.network.manifest.self_test)
        if report or not values["passed"]:
            reporter.say("self-test", values, self_test_text(values), self.name)
        return bool(values["passed"])

    def require_test(self, reporter: Reporter) -> None:
        """Run the self-test. Raises `BundleError` where this device differs from the builder."""
        if not self.test(reporter, report=False):
            raise BundleError(self.failure)

    def measure(self, reporter: Reporter, again: bool) -> None:
        """Measure latencies and memory, or read them from the cache unless ``again``."""
        LatencyEstimator(self.network).profile_all_blocks(Progress("latencies", self.name), again)
        if MemoryEstimator(self.network).profile_all_blocks(Progress("memory", self.name), again) is None:
            reporter.complain("memory cannot be measured here: it is counted by the bundle's tables")

    def renderer(self, folder: Optional[str]) -> Optional[Renderer]:
        """The renderer of its answers, in a folder of its own where there are several networks; None for no folder."""
        if folder is None:
            return None
        from legodnn.runtime.command.render.renderer import Renderer  # other runs start sooner without

        return Renderer(folder if self.name is None else os.path.join(folder, self.name), self.network.manifest)

    def feed(self, source: FrameSource, reporter: Reporter, renderer: Optional[Renderer]) -> Feed:
        """The feed of its frames."""
        paced = self.job.fps is not None
        return Feed(self.network, pace(source, self.job.fps), reporter, paced, self.name, renderer)


class _Run:
    """Runs the frames of measured networks."""

    def __init__(
        self,
        request: Request,
        members: "Sequence[_Member]",
        feeds: Sequence[Feed],
        reporter: Reporter,
        adapting: Optional[Adapting],
        stopping: Stopping,
    ) -> None:
        self._request, self._members, self._feeds = request, members, feeds
        self._reporter, self._adapting, self._stopping = reporter, adapting, stopping
        networks = [member.network for member in members]
        self._choosing: Union[Alone, Shared] = (
            Shared(networks, request) if request.several else Alone(networks[0], request)
        )

    def go(self) -> None:
        """Choose, run all frames, report totals. Raises the error of a feed."""
        self._choosing.report_offers(self._reporter)
        # An infeasible budget is an error, also where budgets change later.
        self._choosing.choose(switch=self._adapting is None)
        with self._following():
            self._choosing.report(self._reporter)
            with self._showing():
                failed = self._feed()
        with self._stopping.finishing():
            for feed in self._feeds:
                feed.sum_up()
        if failed is not None:
            raise failed

    def _feed(self) -> Optional[BaseException]:
        if self._request.several:
            return run_together(self._feeds, self._stopping, self._request.frames)
        self._feeds[0].run(self._request.frames, self._stopping)
        return None

    def _following(self) -> ContextManager[None]:
        if self._adapting is None:
            return contextlib.nullcontext()
        return self._adapting.following(self._choosing, self._stopping)

    def _showing(self) -> ContextManager[None]:
        if not isinstance(self._reporter, Live):
            return contextlib.nullcontext()
        limits = self._choosing.seconds_limits()
        subjects = [
            Subject(member.job.name, feed, limit) for member, feed, limit in zip(self._members, self._feeds, limits)
        ]
        return self._reporter.showing(subjects, self._budget, self._stopping)

    def _budget(self) -> Budget:
        if self._adapting is None:
            return Budget(self._request.seconds, self._request.memory)
        return self._adapting.budget
