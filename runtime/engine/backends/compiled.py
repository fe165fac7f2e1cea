"""Programs of which oneDNN compiles whole stretches, each in the layout of memory that suits it best.

torch calls it oneDNN fusion (oneDNN's Graph API) and has it from 1.12 on, where it was built for it. It happens in
TorchScript's executor while a function is run for the first times, for the shapes it is run with; with other shapes the
function runs as it was exported. What is compiled keeps weights of its own, reordered.
"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from typing import Any, Iterator

import torch

from legodnn.shared.errors import CompositionError

_jit: Any = torch.jit  # typed in some versions of torch and not in others
_C: Any = torch._C

_STRETCH = "prim::oneDNNFusionGroup"
_KEPT = "DNNL_GRAPH_COMPILED_PARTITION_CACHE_CAPACITY"
"""How much of what it compiled oneDNN keeps for another time, 1024 stretches unless this is set before the first: more
than a MiB for every composition there ever was. There is no other time, since it knows every graph as a new one."""

_IN_PLACE = ("aten::add", "aten::mul")
"""What oneDNN may do in the memory of an operand."""


def prepare(graph: Any) -> None:
    """Keep values that are needed later from being overwritten.

    oneDNN adds and multiplies in place of an operand, and was seen to do so with operands that are read again further
    down. It does not reach through operators it does not know, such as ``alias``, which costs next to nothing.
    """
    for node in [n for n in graph.nodes() if n.kind() in _IN_PLACE]:
        for value in list(node.inputs())[:2]:
            if any(use.user.isAfter(node) for use in value.uses()) and value.node().kind() != "prim::Constant":
                _set_apart(graph, value)


def _set_apart(graph: Any, value: Any) -> None:
    alias = graph.create("aten::alias", [value], 1)
    if value.node().kind() == "prim::Param":
        graph.prependNode(alias)
    else:
        alias.insertAfter(value.node())
    alias.output().setType(value.type())
    value.replaceAllUsesAfterNodeWith(alias, alias.output())


class _Fusion:
    """torch's switch for it, which is the process's: on while anybody is compiling, and then what it was."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._compiling = 0
        self._before = False

    def on(self) -> None:
        """Somebody begins to compile."""
        with self._lock:
            if self._compiling == 0:
                self._before = bool(_jit.onednn_fusion_enabled())
                _jit.enable_onednn_fusion(True)
            self._compiling += 1

    def off(self) -> None:
        """Somebody has compiled."""
        with self._lock:
            self._compiling -= 1
            if self._compiling == 0:
                _jit.enable_onednn_fusion(self._before)


_fusion = _Fusion()


@contextmanager
def compiling() -> Iterator[None]:
    """The function that is run last in here, several times, is compiled afterwards.

    Raises `CompositionError` where this torch cannot compile, or finds nothing to compile in it.
    """
    if not hasattr(_jit, "enable_onednn_fusion"):
        raise CompositionError("this torch has no oneDNN fusion")
    os.environ.setdefault(_KEPT, "0")
    _fusion.on()
    try:
        yield
        graph = _C._last_executed_optimized_graph()
    finally:
        _fusion.off()
    if graph.findNode(_STRETCH) is None:
        raise CompositionError("there is nothing oneDNN could compile here")
