"""How a selection is made to run: all there is about TorchScript engines, so that another could take their place.

    workshop   Workshop: compositions of a bundle as this device can run them, without variants that do not work here
    composer   Composer: compositions, checked, in the fastest way there is here
    ways       the ways to run there are: how images lie in memory, and which engine computes
    loading    a variant in the bundle -> a checked program whose weights are constants
    joining    the programs of all segments -> one, so that operations fuse across their borders
    backends/  what each engine does to programs
    paged      weights that are on disk until somebody reads them
    compare    when two answers are the same
    faults     why a selection cannot be made to run: a variant that does not work here, or no memory left
    samples    the inputs that a bundle carries
    process    whether torch can compute in this process: not in every one that was forked
    denormals  numbers too small to be normal are zero while a composition runs
    small      something small run in a way, before memory is measured
    timing     compositions timed side by side
"""

from legodnn.runtime.engine.compare import relative_error, tensors
from legodnn.runtime.engine.composer import WARM_UP, Composer, Composition
from legodnn.runtime.engine.timing import time_turns
from legodnn.runtime.engine.ways import WAYS, Way

__all__ = [
    "WARM_UP",
    "WAYS",
    "Composer",
    "Composition",
    "Way",
    "relative_error",
    "tensors",
    "time_turns",
]
