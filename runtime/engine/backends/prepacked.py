"""Programs in oneDNN's fused operators, which torch has for its compilers, with weights reordered beforehand.

One operator computes a convolution, the addition after it and the activation after that. Segments are packed one by
one, so that compositions share reordered weights; operators are fused in the joined program, across segments.
"""

from __future__ import annotations

from typing import Any, List, Mapping, Optional, Sequence

import torch
from torch import Tensor

from legodnn.runtime.engine.backends.graphs import NO_ACTIVATION, Activation, activation_of, constants_of, only_user
from legodnn.runtime.engine.joining import function_of, single_output
from legodnn.shared.errors import CompositionError

_CONVOLUTION = "mkldnn::_convolution_pointwise"


def require_operators() -> None:
    """Raise `CompositionError` where this torch lacks the operators."""
    try:
        torch.ops.mkldnn._convolution_pointwise.binary  # noqa: B018  (an operator that is not there raises)
        torch.ops.mkldnn._reorder_convolution_weight  # noqa: B018
    except (AttributeError, RuntimeError) as error:
        raise CompositionError("this torch has no prepacked operators") from error
    backend: Any = torch.backends.mkldnn  # typed in no version of torch
    if not backend.is_available():
        raise CompositionError("this torch was built without oneDNN")


# ---- packing: one segment -----------------------------------------------------------------------------------------
def packed(graph: Any, inputs: Sequence[Tensor]) -> Any:
    """A copy of a segment's graph with its convolutions' weights reordered for the shapes of ``inputs``.

    The values around convolutions and additions get shapes, which `fuse` needs. Raises `CompositionError` where this
    torch lacks the operators.
    """
    require_operators()
    graph = graph.copy()
    _note_shapes(graph, inputs)
    for node in list(graph.nodes()):
        given = constants_of(node)
        if given is not None:
            _pack(graph, node, given)
    torch._C._jit_pass_dce(graph)
    return graph


def _note_shapes(graph: Any, inputs: Sequence[Tensor]) -> None:
    """Run a copy of the graph whose outputs are all values that need shapes."""
    probe = graph.copy()
    for _ in list(probe.outputs()):
        probe.eraseOutput(0)
    values: List[Any] = []
    for node, twin in zip(graph.nodes(), probe.nodes()):
        if constants_of(node) is not None or node.kind() in ("aten::add", "aten::add_"):
            for value, other in [*zip(node.inputs(), twin.inputs()), (node.output(), twin.output())]:
                if value.node().kind() != "prim::Constant" and value.type().kind() == "TensorType":
                    values.append(value)
                    probe.registerOutput(other)
    if values:
        made = function_of(single_output(probe))(*inputs)
        for value, tensor in zip(values, made if isinstance(made, tuple) else (made,)):
            value.inferTypeFrom(tensor)


def _pack(graph: Any, node: Any, given: Mapping[str, Any]) -> None:
    source, _, bias = list(node.inputs())[:3]
    geometry = given["padding"], given["stride"], given["dilation"], given["groups"]
    weight = torch.ops.mkldnn._reorder_convolution_weight(given["weight"], *geometry, source.type().sizes())
    graph.setInsertPoint(node)
    constant = graph.insertNode(graph.create("prim::ConstantMKLDNNTensor", [], 1).t_("value", weight))
    arguments = [source, constant.output(), bias, *(graph.insertConstant(value) for value in geometry)]
    _insert(graph, arguments, [graph.insertConstant("none"), _numbers(graph, []), graph.insertConstant("")], [node])


def _insert(graph: Any, arguments: Sequence[Any], how: Sequence[Any], replaced: Sequence[Any]) -> None:
    """Replace a chain of nodes by one fused convolution, which makes the result of the last of them."""
    new = graph.insertNode(graph.create(_CONVOLUTION, [*arguments, *how], 1))
    new.output().setType(replaced[0].output().type())  # that of all in the chain; an activation's has no shape
    replaced[-1].output().replaceAllUsesWith(new.output())
    for node in reversed(replaced):
        node.destroy()


def _numbers(graph: Any, numbers: Sequence[float]) -> Any:
    """A list constant of the type that the operators take, optional numbers."""
    node = graph.create("prim::ListConstruct", [graph.insertConstant(number) for number in numbers], 1)
    node.output().setType(torch._C.ListType(torch._C.OptionalType(torch._C.NumberType.get())))
    return graph.insertNode(node).output()


# ---- fusing: the whole network ------------------------------------------------------------------------------------
def fuse(graph: Any) -> None:
    """Fuse packed convolutions with the additions and activations after them."""
    for node in [n for n in graph.nodes() if n.kind() == _CONVOLUTION]:
        chain, other, activation = [node], None, NO_ACTIVATION
        user = only_user(node)
        if user is not None and user.kind() in ("aten::add", "aten::add_"):
            other = _added(user, node)
            if other is not None:
                chain.append(user)
                user = only_user(user)
        if user is not None:
            activation = activation_of(user)
            if activation != NO_ACTIVATION:
                chain.append(user)
        if len(chain) > 1:
            _fuse(graph, chain, other, activation)


def _fuse(graph: Any, chain: Sequence[Any], other: Optional[Any], activation: Activation) -> None:
    source, *rest = list(chain[0].inputs())[:7]
    graph.setInsertPoint(chain[-1])
    name, numbers = activation
    scalars = _numbers(graph, numbers)
    if other is None:
        _insert(graph, [source, *rest], [graph.insertConstant(name), scalars, graph.insertConstant("")], chain)
        return
    unary = graph.insertConstant(None if activation == NO_ACTIVATION else name)
    how = [graph.insertConstant("add"), graph.insertConstant(1.0), unary, scalars, graph.insertConstant(None)]
    _insert(graph, [source, other, *rest], how, chain)


def _added(addition: Any, node: Any) -> Optional[Any]:
    """The other operand of an addition to ``node``, if of the same shape and computed before ``node``; else None."""
    first, second, factor = list(addition.inputs())
    mine_first = first.debugName() == node.output().debugName()
    other = second if mine_first else first
    if factor.toIValue() != 1 or (addition.kind() == "aten::add_" and not mine_first):
        return None
    if other.debugName() == node.output().debugName() or other.node().kind() == "prim::Constant":
        return None
    if not (other.isCompleteTensor() and node.output().isCompleteTensor()):
        return None
    same = other.type().sizes() == node.output().type().sizes()
    there = other.node().kind() == "prim::Param" or other.node().isBefore(node)
    return other if same and there else None
