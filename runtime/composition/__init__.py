"""How a selection is made to run: all there is about TorchScript engines, so that another could take their place.

    ways       the ways to run there are: how images lie in memory, and which engine computes
    loading    a variant in the bundle -> a checked program whose weights are constants
    joining    the programs of all segments -> one, so that operations fuse across their borders
    prepacked  programs in oneDNN's fused operators with weights reordered beforehand, where torch has them
    xnnpack    the same with XNNPACK's
    engines    what each engine does to programs
    compiled   programs of which oneDNN compiles whole stretches, where torch has that
    paged      weights that are on disk until somebody reads them
    composer   Composer: compositions of a bundle, checked, in the fastest way there is here
    denormals  numbers too small to be normal are zero while a composition runs
    small      something small run in a way, before memory is measured
    timing     compositions timed side by side
"""

from legodnn.runtime.composition.agreement import relative_error, tensors
from legodnn.runtime.composition.composer import WARM_UP, Composer, Composition
from legodnn.runtime.composition.timing import time_turns
from legodnn.runtime.composition.ways import WAYS, Way

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
