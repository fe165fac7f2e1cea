"""`Request`: the checked arguments of `legodnn-run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Tuple

from legodnn.runtime.controller import Budget
from legodnn.runtime.frames.pixels import PixelFormat


@dataclass(frozen=True)
class Job:
    """The arguments of one network.

    ``input`` is the source of frames (None: the bundle's samples), ``pixels`` the format of raw frames (None: tensors),
    ``fps`` the frames per second (None: all, as fast as possible). ``deadline`` (seconds per inference) and ``weight``
    are for several networks that share memory and cores.
    """

    name: str
    bundle: str
    input: Optional[str] = None
    pixels: Optional[PixelFormat] = None
    fps: Optional[float] = None
    deadline: Optional[float] = None
    weight: float = 1.0


@dataclass(frozen=True)
class Adaptation:
    """The sources of changing budgets.

    ``device``: free memory and load; ``schedule``: a CSV file; ``steps``: budgets selected in turn by SIGUSR1.
    ``strict``: also bound memory during switches. Decisions are appended to the file ``log``.
    """

    device: bool = False
    schedule: Optional[str] = None
    steps: Tuple[Budget, ...] = ()
    strict: bool = False
    log: Optional[str] = None


@dataclass(frozen=True)
class Request:
    """All arguments of the command line.

    ``seconds`` (per inference) and ``memory`` (bytes) are budgets; with several networks ``memory`` is for all
    together, and ``cores`` the share of the cores' time for all. ``frames`` is the number to stop after, per network.
    ``measure``: measure latencies and memory again. ``plain``: no live view. ``render``: the folder for pictures with
    answers. ``evaluate``: the data set to evaluate the network on, instead of running frames; ``threshold``: the
    probability of class 1 of two above which an example is counted as that class.
    """

    jobs: Tuple[Job, ...]
    seconds: Optional[float] = None
    memory: Optional[int] = None
    cores: float = 1.0
    frames: Optional[int] = None
    threads: Optional[int] = None
    adaptation: Optional[Adaptation] = None
    measure: bool = False
    info: bool = False
    self_test: bool = False
    json: bool = False
    plain: bool = False
    render: Optional[str] = None
    evaluate: Optional[str] = None
    threshold: Optional[float] = None

    @property
    def several(self) -> bool:
        """Whether there is more than one network, so that messages name it."""
        return len(self.jobs) > 1
