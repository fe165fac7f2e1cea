"""`Request`: what `legodnn-run` is asked to do, understood and checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Tuple

from legodnn.runtime.controller import Budget
from legodnn.runtime.frames.pixels import PixelFormat


@dataclass(frozen=True)
class Job:
    """What one network has to do.

    ``input`` is where its frames come from (None: the bundle's samples), ``pixels`` what raw frames are (None:
    tensors), ``fps`` how many a second it takes (None: all, as they come). ``deadline`` (seconds per inference) and
    ``weight`` count where networks share what there is.
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
    """What budgets are followed while frames run.

    ``device`` is free memory and load; ``schedule`` a CSV file; ``steps`` the budgets SIGUSR1 goes through. ``strict``
    holds for switches, too. Decisions are appended to the file ``log``.
    """

    device: bool = False
    schedule: Optional[str] = None
    steps: Tuple[Budget, ...] = ()
    strict: bool = False
    log: Optional[str] = None


@dataclass(frozen=True)
class Request:
    """Everything the command line asks for.

    ``seconds`` (per inference) and ``memory`` (bytes) are budgets; with several networks ``memory`` is that of all
    together, and ``cores`` the share of the cores' time for all. ``frames`` is the number to stop after, for each
    network. ``measure`` asks for new measurements, of memory as well. ``plain`` forbids the live view. ``render`` is
    the folder that pictures with the answers go into, ``evaluate`` the data set to judge the one network on, in place
    of running frames.
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

    @property
    def several(self) -> bool:
        """Whether there is more than one network, so that it has to be said which is meant."""
        return len(self.jobs) > 1
