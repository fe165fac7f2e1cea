"""Control loops: sources of budgets, and controllers that keep networks within them.

    controller    Controller: one network's control loop; control_loop: the thread
    decider       Decider: one decision per iteration; chooser: the optimiser as it needs it
    budget        Budget: time, memory and slowdown now; sources/: where budgets come from
    drift         Drift: correction factors of predictions; pauses: back-off after failures
    mover         Mover: makes the network switch
    strict        choices reachable within a memory budget; switch_plan: by one switch or several
    events        Event: a decision and its reason; to a callback, to `logging`, as JSON lines
"""

from legodnn.runtime.controller.budget import Budget
from legodnn.runtime.controller.controller import Controller
from legodnn.runtime.controller.events import Event, JsonLines, Prediction
from legodnn.runtime.controller.sources.callback import Callback
from legodnn.runtime.controller.sources.free_memory import FreeMemory, SharedMemory
from legodnn.runtime.controller.sources.processor import Processor
from legodnn.runtime.controller.sources.schedule import Entry, Schedule
from legodnn.runtime.controller.sources.signals import SignalSteps
from legodnn.runtime.controller.sources.source import Fixed, Source, Tightest

__all__ = [
    "Budget",
    "Callback",
    "Controller",
    "Entry",
    "Event",
    "Fixed",
    "FreeMemory",
    "JsonLines",
    "Prediction",
    "Processor",
    "Schedule",
    "SharedMemory",
    "SignalSteps",
    "Source",
    "Tightest",
]
