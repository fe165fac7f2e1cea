"""A made-up network under a controller, with a clock that tests move."""

from __future__ import annotations

from dataclasses import dataclass, field

from legodnn.runtime import Budget, Controller, ScalingOptimizer, Source
from legodnn.runtime.switching.switcher import Switcher
from legodnn.shared.errors import CompositionError
from tests import made_up

ROWS = [(0.0, 0.010, 10_000, 100), (0.1, 0.005, 5_000, 100), (0.3, 0.002, 2_000, 100)]
"""One block: an original and two smaller variants, which need 10,500, 5,500 and 2,500 bytes in all."""

LARGE, MIDDLE, SMALL = ({"block0": name} for name in ("original", "v1", "v2"))


class FakeComposition:
    """Stands for a composition, and for whoever is inside it."""

    def __init__(self, selection):
        self.selection, self.recent = dict(selection), []


class FakeWorkshop:
    """Makes compositions of a made-up network, of which no variant stays loaded."""

    def __init__(self, manifest):
        self.manifest = manifest

    def compose(self, selection, between):
        return FakeComposition(selection)

    def keep_loaded(self, spare):
        pass


@dataclass
class Controlled(made_up.MadeUpNetwork):
    """What a controller needs of a network, over a real switcher; ``fails`` is how many of the next switches fail, and
    ``unloaded`` how many variants can be loaded ahead."""

    recent: list[float] = field(default_factory=list)
    fails: int = 0
    unloaded: int = 0

    def __post_init__(self):
        self.switcher = Switcher(FakeWorkshop(self.manifest))
        self.switcher.keep_within = 1e9

    @property
    def running(self):
        return self.switcher.current

    @property
    def loaded(self):
        return self.switcher.loaded

    @property
    def keep_within(self):
        return self.switcher.keep_within

    @keep_within.setter
    def keep_within(self, limit):
        self.switcher.keep_within = limit

    def forget_recent(self):
        self.recent = []

    def bound_kept(self, memory_bytes):
        self.switcher.bound(memory_bytes)

    def select(self, selection):
        if self.fails:
            self.fails -= 1
            raise CompositionError("not today")
        if self.running is None or selection != self.selection:
            self.recent = []
        self.history.append(dict(selection))
        return self.switcher.switch(selection)

    def recent_seconds(self):
        return list(self.recent)

    def load_ahead(self):
        more = self.unloaded > 0
        self.unloaded -= more
        return more


class Given(Source):
    """A budget that tests set; it counts how often it is read."""

    def __init__(self, budget=None):
        self.budget = budget or Budget()
        self.reads = 0
        self.running = False

    def start(self):
        self.running = True

    def read(self):
        self.reads += 1
        if isinstance(self.budget, Exception):
            raise self.budget
        return self.budget

    def stop(self):
        self.running = False


class Bench:
    """A controller over a made-up network; `look` lets time pass and looks once."""

    def __init__(self, rows=(ROWS,), budget=None, optimizer=ScalingOptimizer, **options):
        made = made_up.network(rows, base=0.0)
        self.network = Controlled(made.manifest, made.latency)
        self.optimizer = optimizer(self.network)
        self.given, self.events, self.now = Given(budget), [], 100.0
        self.controller = Controller(
            self.optimizer, self.given, on_event=self.events.append, clock=lambda: self.now, **options
        )

    def look(self, budget=None, after=0.5):
        self.now += after
        if budget is not None:
            self.given.budget = budget
        return self.controller.step()

    def run(self, seconds, count=16):
        """The network's last inferences took this long, and a bit more every time so that they are new ones."""
        self.network.recent = [seconds * (1 + 1e-9 * self.given.reads)] * count

    @property
    def selection(self):
        return self.network.selection

    @property
    def reasons(self):
        return [event.reason for event in self.events]
