"""Queries on graphs for engines that pack weights beforehand."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Tuple

import torch
from torch import Tensor

Activation = Tuple[str, List[float]]

_ACTIVATIONS: Mapping[str, Activation] = {
    "relu": ("relu", []),
    "relu6": ("hardtanh", [0.0, 6.0]),
    "hardswish": ("hardswish", []),
    "hardsigmoid": ("hardsigmoid", []),
    "silu": ("swish", []),
    "sigmoid": ("sigmoid", []),
    "tanh": ("tanh", []),
}
"""torch's operators -> oneDNN's names for them, with their parameters."""

NO_ACTIVATION: Activation = ("none", [])


def constants_of(node: Any) -> Optional[Dict[str, Any]]:
    """The constant arguments of a packable 2-D convolution by name; None for any other node."""
    if node.kind() not in ("aten::_convolution", "aten::conv2d"):
        return None
    names = "input weight bias stride padding dilation".split()
    names += ["groups"] if node.kind() == "aten::conv2d" else ["transposed", "output_padding", "groups"]
    values = dict(zip(names, node.inputs()))
    if any(values[name].node().kind() != "prim::Constant" for name in names[1:]):
        return None
    given = {name: values[name].toIValue() for name in names[1:]}
    weight = given["weight"]
    plain = isinstance(weight, Tensor) and weight.dim() == 4 and weight.dtype == torch.float32
    return given if plain and not given.get("transposed") and not isinstance(given["padding"], str) else None


def only_user(node: Any) -> Optional[Any]:
    """The only reader of a node's result, if it is an aten operator in the same block with one result; else None."""
    uses = node.output().uses()
    if len(uses) != 1:
        return None
    user = uses[0].user
    return user if user.kind().startswith("aten::") and user.outputsSize() == 1 and _same_block(user, node) else None


def _same_block(a: Any, b: Any) -> bool:
    return bool(a.owningBlock().paramNode() == b.owningBlock().paramNode())


def activation_of(node: Any) -> Activation:
    """A node's activation in oneDNN's names; `NO_ACTIVATION` where it is none of them."""
    name = node.kind().replace("aten::", "")
    name = name[:-1] if name.endswith("_") else name
    if name in _ACTIVATIONS:
        return _ACTIVATIONS[name]
    numbers = [value.toIValue() for value in list(node.inputs())[1:]]
    if name in ("hardtanh", "clamp") and all(isinstance(number, (int, float)) for number in numbers):
        return "hardtanh", [float(number) for number in numbers]
    if name == "leaky_relu" and isinstance(numbers[0], (int, float)):
        return "leaky_relu", [float(numbers[0])]
    return NO_ACTIVATION
