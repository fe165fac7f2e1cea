"""Programs with subgraphs compiled by oneDNN, each in the memory layout that oneDNN chooses.

torch calls it oneDNN fusion (oneDNN's Graph API) and has it from 1.12 on, where it was built with it. TorchScript's
executor compiles a function in its first runs, for the shapes of these; with other shapes the function runs as it was
exported. Compiled subgraphs hold their own, reordered copies of the weights.
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
"""The variable with the capacity of oneDNN's cache of compiled subgraphs, 1024 by default; read at the first
compilation.

It is set to 0: the cache would hold more than a MiB per composition, and never hits, since every graph counts as
new."""

_IN_PLACE = ("aten::add", "aten::mul")
"""Operators that oneDNN may compute in place of an operand."""


def prepare(graph: Any) -> None:
    """Insert an ``alias`` behind operands that are read again later, so that oneDNN does not overwrite them.

    oneDNN adds and multiplies in place of an operand, also where the operand is read again further down (observed). It
    does not fuse across operators it does not support, such as ``alias``, which copies nothing.
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
    """torch's process-wide switch for oneDNN fusion: on while any thread compiles, then restored."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._compiling = 0
        self._before = False

    def on(self) -> None:
        """A thread begins to compile."""
        with self._lock:
            if self._compiling == 0:
                self._before = bool(_jit.onednn_fusion_enabled())
                _jit.enable_onednn_fusion(True)
            self._compiling += 1

    def off(self) -> None:
        """A thread has compiled."""
        with self._lock:
            self._compiling -= 1
            if self._compiling == 0:
                _jit.enable_onednn_fusion(self._before)


_fusion = _Fusion()


@contextmanager
def compiling() -> Iterator[None]:
    """A context in which the function that runs last, several times, gets compiled.

    Raises `CompositionError` where this torch has no oneDNN fusion, or oneDNN compiles nothing of the function.
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
