"""`Feed`: runs frames through a network and reports its outputs."""

from __future__ import annotations

import statistics
import time
from collections import deque
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any, Deque, Dict, Optional

from legodnn.runtime.command.report import Reporter, answer_results, answer_text, named
from legodnn.runtime.command.stopping import StopAsked, Stopping
from legodnn.runtime.engine.compare import tensors
from legodnn.runtime.frames.pacing import Pace
from legodnn.runtime.frames.source import Frame
from legodnn.runtime.network import Network
from legodnn.shared.errors import InputError
from legodnn.shared.units import count, format_seconds

if TYPE_CHECKING:
    from legodnn.runtime.command.render.renderer import Renderer

REMEMBERED = 10_000
"""Latest inferences for the median: bounds memory, since a camera may run for months; not tuned."""


class Feed:
    """Runs the frames of a pace and reports each; can be stopped between two frames."""

    def __init__(
        self,
        network: Network,
        pace: Pace,
        reporter: Reporter,
        paced: bool = False,
        name: Optional[str] = None,
        renderer: Optional[Renderer] = None,
    ) -> None:
        """``paced``: frames may be dropped, and reports count them. ``name``: of the network, None for the only one.

        ``renderer`` draws every answer after it has been reported.
        """
        self.renderer = renderer
        self.network, self.pace, self.reporter, self.paced, self.name = network, pace, reporter, paced, name
        self.frames = self.skipped = 0
        self.judged = self.right = 0
        self._seconds: Deque[float] = deque(maxlen=REMEMBERED)
        self._stopped = False

    def run(self, limit: Optional[int] = None, stopping: Optional[Stopping] = None) -> None:
        """Run until the frames end, ``limit`` frames have run, or `stop` or a signal (``stopping``) ends it.

        ``stopping`` is for the main thread only. Raises the errors of the source, and `InputError` where none of the
        frames could be used.
        """
        finishing = nullcontext if stopping is None else stopping.finishing
        with suppress(StopAsked), self.pace:  # stopped while no frame was in progress
            for frame in self.pace:
                with finishing():
                    self._take(frame)
                if self._asked(stopping) or self.frames == limit:
                    break
        if self.skipped and not self.frames and not self._asked(stopping):
            raise InputError(named(self.name, "none of the frames could be used"))

    def stop(self) -> None:
        """From another thread: end after the frame in progress."""
        self._stopped = True
        self.pace.stop()

    def _asked(self, stopping: Optional[Stopping]) -> bool:
        return self._stopped or (stopping is not None and stopping.asked is not None)

    def _take(self, frame: Frame) -> None:
        try:
            inputs = frame.load()
        except InputError as error:
            self.skipped += 1
            values = {"frame": frame.number, "reason": str(error), **self._circumstances(frame)}
            self.reporter.say("skipped", values, f"frame {frame.number} skipped: {error}", self.name)
            return
        started = time.perf_counter()
        answer = self.network(*inputs)
        seconds = time.perf_counter() - started
        self._seconds.append(seconds)
        self.frames += 1
        found = answer_results(self.network.manifest, answer)
        if frame.label is not None and "class" in found:
            self.judged += 1
            self.right += found["class"] == frame.label
        values = {"frame": frame.number, "seconds": seconds, **found, **self._circumstances(frame)}
        name = f" ({frame.name})" if frame.name else ""
        said = answer_text(self.network.manifest, found)
        text = f"frame {frame.number}{name}: {said}, {format_seconds(seconds)}"
        self.reporter.say("frame", values, text, self.name)
        if self.renderer is not None:
            self.renderer(frame, inputs, tensors(answer), found, said)

    def _circumstances(self, frame: Frame) -> Dict[str, Any]:
        values: Dict[str, Any] = {}
        if frame.name is not None:
            values["file"] = frame.name
        if self.paced:
            values["dropped"] = self.pace.dropped
        return values

    def sum_up(self) -> None:
        """Report the totals of all frames."""
        median = statistics.median(self._seconds) if self._seconds else None
        values: Dict[str, Any] = {"frames": self.frames, "median_seconds": median}
        text = count(self.frames, "frame")
        if median is not None:
            text += f", median {format_seconds(median)} per inference"
        if self.paced:
            values["dropped"] = self.pace.dropped
            text += f"; {self.pace.dropped} dropped"
        if self.skipped:
            values["skipped"] = self.skipped
            text += f"; {self.skipped} skipped"
        if self.judged:
            values["right"], values["judged"] = self.right, self.judged
            text += f"; {self.right} of {self.judged} samples right"
        self.reporter.say("summary", values, text, self.name)
