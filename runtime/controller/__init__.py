"""When resources change: budgets that are watched, and a network that follows them.

    controller   Controller: looks, decides and switches, in a thread of its own; looking: that thread
    decider      the decisions, one look at a time; chooser: the optimiser as they need it
    budget       Budget: what there is now
    source       Source: where budgets come from; Fixed, and Tightest of several
    free_memory  FreeMemory: what the machine or the control group has left; SharedMemory: for several networks
    processor    Processor: load, quota and frequency of the cores
    schedule     Schedule: budgets by the clock, from a CSV file
    callback     Callback: budgets from a function, which may raise or hang
    signals      SignalSteps: a Unix signal steps through budgets
    drift        how far inferences are from their prediction; pauses: between attempts after failures
    mover        makes the network switch; passage: in steps that stay within a memory budget
    events       Event: what was decided and why; to a callback, to `logging`, as JSON lines
"""

from legodnn.runtime.controller.budget import Budget
from legodnn.runtime.controller.callback import Callback
from legodnn.runtime.controller.controller import Controller
from legodnn.runtime.controller.events import Event, JsonLines, Prediction
from legodnn.runtime.controller.free_memory import FreeMemory, SharedMemory
from legodnn.runtime.controller.processor import Processor
from legodnn.runtime.controller.schedule import Entry, Schedule
from legodnn.runtime.controller.signals import SignalSteps
from legodnn.runtime.controller.source import Fixed, Source, Tightest

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
