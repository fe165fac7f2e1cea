"""Frames through a network, one after the other, and what comes out."""

from __future__ import annotations

import statistics
import time
from collections import deque
from contextlib import suppress
from typing import Any, Deque, Dict, Optional

from legodnn.runtime.frames.pacing import Pace
from legodnn.runtime.frames.source import Frame
from legodnn.runtime.network import Network
from legodnn.runtime.report import Reporter, answer_facts, answer_text
from legodnn.runtime.stopping import StopAsked, Stopping
from legodnn.shared.errors import InputError
from legodnn.shared.units import format_seconds

REMEMBERED = 10_000
"""Inferences whose seconds the median is taken of, the latest ones: a camera may run for months."""


class Feed:
    """Runs the frames that a pace lets through and reports each; `Stopping` may end it between two frames."""

    def __init__(self, network: Network, pace: Pace, reporter: Reporter, paced: bool = False) -> None:
        """``paced``: frames may be dropped, so reports say how many were."""
        self.network, self.pace, self.reporter, self.paced = network, pace, reporter, paced
        self.frames = self.skipped = 0
        self.judged = self.right = 0
        self._seconds: Deque[float] = deque(maxlen=REMEMBERED)

    def run(self, stopping: Stopping, limit: Optional[int] = None) -> None:
        """Run until the frames end, ``limit`` frames have been run, or a signal asks to stop; then sum up.

        Raises what the source raises, and `InputError` where frames came but none could be used.
        """
        with suppress(StopAsked), self.pace:  # asked to stop while no frame was underway
            for frame in self.pace:
                with stopping.finishing():
                    self._take(frame)
                if stopping.asked is not None or self.frames == limit:
                    break
        if self.skipped and not self.frames and stopping.asked is None:
            raise InputError("none of the frames could be used")
        self._sum_up()

    def _take(self, frame: Frame) -> None:
        try:
            inputs = frame.load()
        except InputError as error:
            self.skipped += 1
            facts = {"frame": frame.number, "reason": str(error), **self._circumstances(frame)}
            self.reporter.say("skipped", facts, f"frame {frame.number} skipped: {error}")
            return
        started = time.perf_counter()
        answer = self.network(*inputs)
        seconds = time.perf_counter() - started
        self._seconds.append(seconds)
        self.frames += 1
        found = answer_facts(self.network.input.labels, answer)
        if frame.label is not None and "class" in found:
            self.judged += 1
            self.right += found["class"] == frame.label
        facts = {"frame": frame.number, "seconds": seconds, **found, **self._circumstances(frame)}
        name = f" ({frame.name})" if frame.name else ""
        text = f"frame {frame.number}{name}: {answer_text(found)}, {format_seconds(seconds)}"
        self.reporter.say("frame", facts, text)

    def _circumstances(self, frame: Frame) -> Dict[str, Any]:
        facts: Dict[str, Any] = {}
        if frame.name is not None:
            facts["file"] = frame.name
        if self.paced:
            facts["dropped"] = self.pace.dropped
        return facts

    def _sum_up(self) -> None:
        median = statistics.median(self._seconds) if self._seconds else None
        facts: Dict[str, Any] = {"frames": self.frames, "median_seconds": median}
        text = f"{self.frames} frames"
        if median is not None:
            text += f", median {format_seconds(median)} per inference"
        if self.paced:
            facts["dropped"] = self.pace.dropped
            text += f"; {self.pace.dropped} dropped"
        if self.skipped:
            facts["skipped"] = self.skipped
            text += f"; {self.skipped} skipped"
        if self.judged:
            facts["right"], facts["judged"] = self.right, self.judged
            text += f"; {self.right} of {self.judged} samples right"
        self.reporter.say("summary", facts, text)
