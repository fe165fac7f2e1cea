"""`ENGINES`: what each engine does to the programs of segments, to the joined program and around its first runs."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, Callable, ContextManager, Mapping, NamedTuple, Optional, Sequence

import torch
from torch import Tensor

from legodnn.runtime.engine.backends import compiled, prepacked, xnnpack


def _plain(graph: Any) -> None:
    """No passes: the program runs as it was exported."""


def _optimized(graph: Any) -> None:
    """torch's own passes for inference: MKLDNN operators, transposed linear weights."""
    torch._C._jit_pass_convert_frozen_ops_to_mkldnn(graph)
    torch._C._jit_pass_transpose_frozen_linear(graph)


class Engine(NamedTuple):
    """``lower`` transforms the joined program in place, ``warming`` is a context for the first runs of its function.

    ``pack``, if given, returns a segment's program with packed weights for some inputs; compositions share it.
    ``keeps`` says that the original weights stay referenced though they are hardly read again, so they can be paged.
    """

    lower: Callable[[Any], None]
    warming: Callable[[], ContextManager[None]] = nullcontext
    pack: Optional[Callable[[Any, Sequence[Tensor]], Any]] = None
    keeps: bool = False


ENGINES: Mapping[str, Engine] = {
    "plain": Engine(_plain),
    "optimized": Engine(_optimized),
    "prepacked": Engine(prepacked.fuse, pack=prepacked.packed),
    "xnnpack": Engine(xnnpack.require_packed, pack=xnnpack.packed, keeps=True),
    "compiled": Engine(compiled.prepare, compiled.compiling, keeps=True),
}
