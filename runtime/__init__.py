"""The runtime: runs a bundle on a device, with the most accurate selection for the available time and memory.

    >>> from legodnn.runtime import Network, LatencyEstimator, ScalingOptimizer
    >>> network = Network.open("fashion.lgb")                  # reads and checks the manifest, no weights yet
    >>> LatencyEstimator(network).profile_all_blocks()         # measures on this device; cached
    >>> optimizer = ScalingOptimizer(network)
    >>> choice = optimizer.update_model(0.010, 4.5 * 1024**2)  # seconds, bytes -> the choice and its predictions
    >>> y = network(x)                                         # safe while another thread switches

    command/     `legodnn-run`, its screen and its pictures
    multi/       several networks at once: JointOptimizer, JointController
    controller/  Controller: follows changing budgets, from memory, load, a schedule, a function or a signal
    optimizer/   ScalingOptimizer: the most accurate selection within budgets
    profiling/   LatencyEstimator and MemoryEstimator: seconds and bytes of variants on this device
    frames/      frames from files, pipes, cameras and folders of images or clips
    network      Network: an open bundle that runs
    switching/   switching between selections while inferences run
    engine/      from a selection to an executable composition; faults
    device/      tables of measurements and their cache on disk

Each imports only those below it. Importing this package loads neither `command` nor `multi`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Dict, Tuple

from legodnn.runtime.device.latency_table import LatencyTable
from legodnn.runtime.device.memory_table import MemoryTable
from legodnn.runtime.network import Network, SelfTestResult
from legodnn.runtime.optimizer import Choice, Power, ScalingOptimizer
from legodnn.runtime.profiling.latency import LatencyEstimator
from legodnn.shared.errors import InfeasibleBudget, LegoError

if TYPE_CHECKING:
    from legodnn.runtime.controller import (
        Budget,
        Callback,
        Controller,
        Entry,
        Event,
        Fixed,
        FreeMemory,
        JsonLines,
        Prediction,
        Processor,
        Schedule,
        SharedMemory,
        SignalSteps,
        Source,
        Tightest,
    )
    from legodnn.runtime.multi import Duty, JointChoice, JointController, JointOptimizer
    from legodnn.runtime.profiling.memory import MemoryEstimator

__all__ = [
    "Budget",
    "Callback",
    "Choice",
    "Controller",
    "Duty",
    "Entry",
    "Event",
    "Fixed",
    "FreeMemory",
    "InfeasibleBudget",
    "JointChoice",
    "JointController",
    "JointOptimizer",
    "JsonLines",
    "LatencyEstimator",
    "LatencyTable",
    "LegoError",
    "MemoryEstimator",
    "MemoryTable",
    "Network",
    "Power",
    "Prediction",
    "Processor",
    "ScalingOptimizer",
    "Schedule",
    "SelfTestResult",
    "SharedMemory",
    "SignalSteps",
    "Source",
    "Tightest",
]

_WHEN_ASKED_FOR: Dict[str, Tuple[str, ...]] = {
    "legodnn.runtime.profiling.memory": ("MemoryEstimator",),
    "legodnn.runtime.controller": (
        "Budget", "Callback", "Controller", "Entry", "Event", "Fixed", "FreeMemory", "JsonLines", "Prediction",
        "Processor", "Schedule", "SharedMemory", "SignalSteps", "Source", "Tightest",
    ),
    "legodnn.runtime.multi": ("Duty", "JointChoice", "JointController", "JointOptimizer"),
}  # fmt: skip
"""Modules imported at the first use of one of their names: programs that choose once start sooner without them."""


def __getattr__(name: str) -> Any:
    for module, names in _WHEN_ASKED_FOR.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
