"""What each engine does to programs: to those of segments, to the joined one, and around its first runs."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, Callable, ContextManager, Mapping, NamedTuple, Optional, Sequence

import torch
from torch import Tensor

from legodnn.runtime.engine.backends import compiled, prepacked, xnnpack


def _plain(graph: Any) -> None:
    """What was exported runs as it is."""


def _optimized(graph: Any) -> None:
    """torch's own passes for inference."""
    torch._C._jit_pass_convert_frozen_ops_to_mkldnn(graph)
    torch._C._jit_pass_transpose_frozen_linear(graph)


class Engine(NamedTuple):
    """``lower`` changes a joined program before it is a function, ``warming`` is around that function's first runs.

    ``pack``, where there is one, makes another program of a segment's and its inputs, which compositions share.
    ``keeps`` says that the weights a program was made from stay, though they are hardly read again.
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
