"""From a selection to an executable composition: everything about TorchScript, so that it could be replaced.

    workshop   Workshop: compositions of a bundle on this device; excludes variants that do not work on it
    composer   Composer: compositions, checked, with the fastest backend of this device
    backend    Backend: layout of images in memory, and engine; BACKENDS: all that are tried
    loading    a variant in the bundle -> a checked program whose weights are constants
    joining    the programs of all segments -> one, so that operators fuse across segments
    backends/  one file per engine: its passes over programs
    paged      weights on disk, mapped into memory while they are read
    compare    relative errors of outputs
    faults     the variant because of which a composition fails; out of memory
    samples    the bundle's sample inputs
    process    refuses processes forked after torch started threads
    denormals  flush to zero while a composition runs
    small      a small network run with a backend, before memory is measured
    timing     compositions timed side by side
"""

from legodnn.runtime.engine.backend import BACKENDS, Backend
from legodnn.runtime.engine.compare import relative_error, tensors
from legodnn.runtime.engine.composer import WARM_UP, Composer, Composition
from legodnn.runtime.engine.timing import time_turns

__all__ = [
    "BACKENDS",
    "WARM_UP",
    "Backend",
    "Composer",
    "Composition",
    "relative_error",
    "tensors",
    "time_turns",
]
