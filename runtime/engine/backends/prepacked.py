"""Programs in operators of oneDNN that torch carries for its compilers: fused, with weights reordered beforehand.

One operator does a convolution, the addition behind it and the activation behind that. Segments are packed one by one,
so that reordered weights are shared between compositions; fusing is for the joined program, across borders.
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
    """A copy of a segment's graph with its convolutions' weights reordered for inputs like ``inputs``.

    Values around convolutions and additions get their shapes noted, for `fuse`. Raises `CompositionError` where this
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
    """Run the graph once, with everything of interest among its outputs."""
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
    """A fused convolution in place of the nodes ``replaced``, of which the last one's result is what it makes."""
    new = graph.insertNode(graph.create(_CONVOLUTION, [*arguments, *how], 1))
    new.output().setType(replaced[0].output().type())  # of all in the chain; an activation's own has no shape
    replaced[-1].output().replaceAllUsesWith(new.output())
    for node in reversed(replaced):
        node.destroy()


def _numbers(graph: Any, numbers: Sequence[float]) -> Any:
    """A list constant of the type the operators ask for."""
    node = graph.create("prim::ListConstruct", [graph.insertConstant(number) for number in numbers], 1)
    node.output().setType(torch._C.ListType(torch._C.OptionalType(torch._C.NumberType.get())))
    return graph.insertNode(node).output()


# ---- fusing: the whole network ------------------------------------------------------------------------------------
def fuse(graph: Any) -> None:
    """Let packed convolutions do the additions and activations behind them."""
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
    """What is added to the result of ``node``, where both have one shape and it is there before ``node`` runs."""
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
