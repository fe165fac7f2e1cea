"""When resources change: budgets that are watched, and a network that follows them.

    controller    Controller: looks, decides and switches, in a thread of its own; control_loop: that thread
    decider       the decisions, one look at a time; chooser: the optimiser as they need it
    budget        Budget: what there is now; sources/: where that comes from
    drift         how far inferences are from their prediction; pauses: between attempts after failures
    mover         makes the network switch
    strict        choices that can be got to within a memory budget; switch_plan: in one switch or several
    events        Event: what was decided and why; to a callback, to `logging`, as JSON lines
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
