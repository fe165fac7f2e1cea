"""Programs in XNNPACK's operators, which older torch has where it was built with it, mostly on ARM.

One operator computes a convolution and the bounds after it (a ReLU is one), with weights reordered beforehand. Packed
weights are constants of their segment, so that compositions share them; torch lets one thread at a time use them.
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
    """A copy of a segment's graph with its convolutions, and bounds after them, packed; ``inputs`` do not matter.

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
    """Raise `CompositionError` where a joined program has no operator of XNNPACK."""
    if graph.findNode(_RUN) is None:
        raise CompositionError("there is nothing XNNPACK could do here")


def _pack(graph: Any, node: Any, given: Mapping[str, Any]) -> None:
    """Replace a convolution, and the bounds after it, by a packed one, where XNNPACK supports it."""
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
    """The packed weights of a convolution; None where XNNPACK does not support it."""
    geometry = given["stride"], given["padding"], given["dilation"], given["groups"]
    try:
        return torch.ops.prepacked.conv2d_clamp_prepack(given["weight"], given["bias"], *geometry, low, high)
    except RuntimeError:
        return None


def _bounds(node: Any) -> Optional[Tuple[float, float]]:
    """The (low, high) bounds of a ReLU or hardtanh node; None for any other node."""
    name, numbers = activation_of(node)
    if name == "relu":
        return 0.0, math.inf
    return (numbers[0], numbers[1]) if name == "hardtanh" else None
