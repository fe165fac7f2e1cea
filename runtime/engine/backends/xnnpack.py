"""Programs in operators of XNNPACK, which older torch has where it was built for it, on ARM before all.

One operator does a convolution and the bounds behind it (a ReLU is one), with weights reordered beforehand. What is
packed stays a constant of its segment, so that compositions share it; torch lets one thread at a time use it.
"""

from __future__ import annotations

import math
from typing import Any, Mapping, Optional, Sequence, Tuple

import torch
from torch import Tensor

from legodnn.runtime.engine.backends.graphs import activation_of, constants_of, only_user
from legodnn.shared.errors import CompositionError

_RUN = "prepacked::conv2d_clamp_run"
_UNBOUNDED = (-math.inf, math.inf)


def require_operators() -> None:
    """Raise `CompositionError` where this torch lacks the operators."""
    try:
        torch.ops.prepacked.conv2d_clamp_prepack  # noqa: B018  (an operator that is not there raises)
        torch.ops.prepacked.conv2d_clamp_run  # noqa: B018
    except (AttributeError, RuntimeError) as error:
        raise CompositionError("this torch was built without XNNPACK") from error


def packed(graph: Any, inputs: Sequence[Tensor]) -> Any:
    """A copy of a segment's graph with its convolutions packed, whatever the ``inputs``, and the bounds behind them.

    Raises `CompositionError` where this torch lacks the operators.
    """
    del inputs
    require_operators()
    graph = graph.copy()
    for node, given in [(node, constants_of(node)) for node in graph.nodes()]:
        if given is not None:
            _pack(graph, node, given)
    torch._C._jit_pass_dce(graph)
    return graph


def require_packed(graph: Any) -> None:
    """Raise `CompositionError` where nothing in a joined program is done by XNNPACK."""
    if graph.findNode(_RUN) is None:
        raise CompositionError("there is nothing XNNPACK could do here")


def _pack(graph: Any, node: Any, given: Mapping[str, Any]) -> None:
    """Put a packed convolution in the place of one, and of the bounds behind it, where XNNPACK does such."""
    user: Any = only_user(node)
    bounds = _bounds(user) if user is not None else None
    made = _prepacked(given, *(bounds or _UNBOUNDED))
    if made is None:
        return
    last = user if bounds is not None else node
    graph.setInsertPoint(last)
    new = graph.insertNode(graph.create(_RUN, [next(iter(node.inputs())), graph.insertConstant(made)], 1))
    new.output().setType(node.output().type())
    last.output().replaceAllUsesWith(new.output())
    if last is not node:
        last.destroy()
    node.destroy()


def _prepacked(given: Mapping[str, Any], low: float, high: float) -> Optional[Any]:
    """The packed weights of a convolution; None where XNNPACK does not do such."""
    geometry = given["stride"], given["padding"], given["dilation"], given["groups"]
    try:
        return torch.ops.prepacked.conv2d_clamp_prepack(given["weight"], given["bias"], *geometry, low, high)
    except RuntimeError:
        return None


def _bounds(node: Any) -> Optional[Tuple[float, float]]:
    """The bounds that a node sets to its input; None where it does anything else."""
    name, numbers = activation_of(node)
    if name == "relu":
        return 0.0, math.inf
    return (numbers[0], numbers[1]) if name == "hardtanh" else None
