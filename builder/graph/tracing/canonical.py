"""Canonical forms: one form for each computation.

What depends on weights alone is computed once; a functional call with weights becomes a layer; every kind of reshape
becomes ``reshape`` with literal sizes and -1 for the batch. The channel analysis, folding, reconstruction and export
then have one form each to handle.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor, fx

from legodnn.builder.graph.tracing.copies import untied

SMALL_CONSTANT_BYTES = 1 << 16
"""A value that depends on no input is stored if it is not larger than this or than the weights it is computed from. Not
tuned."""

_STORED = "constant_"


def canonicalise(module: fx.GraphModule) -> dict[str, str]:
    """Bring a functional graph (see `legodnn.builder.graph.tracing.functional`) into canonical form, in place; returns
    what `untied` does, since a weight of a layer may have been given to a function as well."""
    module.graph.eliminate_dead_code()
    _fold_constants(module)
    _make_layers(module)
    _plain_reshapes(module)
    module.graph.eliminate_dead_code()
    module.delete_all_unused_submodules()
    _drop_unused_tensors(module)
    tied = untied(module)
    module.graph.lint()
    module.recompile()
    return tied


# ---- constants --------------------------------------------------------------------------------------------------
def _fold_constants(module: fx.GraphModule) -> None:
    values: dict[fx.Node, Any] = {}
    weights: dict[fx.Node, dict[fx.Node, None]] = {}
    for node in module.graph.nodes:
        free = all(source in values for source in node.all_input_nodes)
        if node.op == "get_attr":
            values[node], weights[node] = _attribute(module, node), {node: None}
        elif node.op in ("call_function", "call_method") and free:
            values[node] = _evaluated(node, values)
            weights[node] = {w: None for source in node.all_input_nodes for w in weights[source]}
    for node in [n for n in values if n.op != "get_attr" and isinstance(values[n], Tensor)]:
        if any(user not in values for user in node.users) and _worth_storing(values[node], node, values, weights):
            trainable = any(isinstance(values[w], nn.Parameter) for w in weights[node])
            owner = next((str(w.target).rpartition(".")[0] for w in weights[node]), "")
            _store(module, node, owner, values[node], trainable)


def _evaluated(node: fx.Node, values: Mapping[fx.Node, Any]) -> Any:
    args, kwargs = fx.node.map_arg((node.args, node.kwargs), lambda n: values[n])
    if isinstance(node.target, str):  # a method
        return getattr(args[0], node.target)(*args[1:], **kwargs)
    return node.target(*args, **kwargs)


def _worth_storing(
    value: Tensor, node: fx.Node, values: Mapping[fx.Node, Any], weights: Mapping[fx.Node, Mapping[fx.Node, None]]
) -> bool:
    size = value.numel() * value.element_size()
    return size <= SMALL_CONSTANT_BYTES or size <= sum(values[w].numel() * 4 for w in weights[node])


def _store(module: fx.GraphModule, node: fx.Node, owner: str, value: Tensor, trainable: bool) -> None:
    """Store a value in the module ``owner`` and read it from there in the node's place."""
    parent_module = module.get_submodule(owner)
    name = _free_name(parent_module, f"{_STORED}{node.name}")
    value = value.detach().clone()  # same strides: a transposed matrix is multiplied in another order
    if trainable and value.is_floating_point():
        setattr(parent_module, name, nn.Parameter(value, requires_grad=False))
    else:
        parent_module.register_buffer(name, value)
    with module.graph.inserting_before(node):
        stored = module.graph.get_attr(f"{owner}.{name}" if owner else name)
    stored.meta = dict(node.meta)
    node.replace_all_uses_with(stored)


def _free_name(module: nn.Module, name: str) -> str:
    candidate, count = name, 1
    while hasattr(module, candidate):
        candidate, count = f"{name}_{count}", count + 1
    return candidate


# ---- functional calls with weights --------------------------------------------------------------------------------
Given = Mapping[str, Any]
_CONV = "input weight bias stride padding dilation groups".split()
_TRANSPOSED = "input weight bias stride padding output_padding groups dilation".split()


def _convolution(kind: Any, transposed: bool) -> Callable[[Given], nn.Module]:
    def build(given: Given) -> nn.Module:
        weight, groups = given["weight"], given.get("groups", 1)
        options = {k: v for k, v in given.items() if k in (*_CONV, "output_padding") and k not in ("input", "weight")}
        bias = options.pop("bias", None)
        inner = (weight.shape[0], weight.shape[1] * groups) if transposed else (weight.shape[1] * groups, len(weight))
        return _filled(kind(*inner, tuple(weight.shape[2:]), bias=bias is not None, **options), weight, bias)

    return build


def _filled(layer: nn.Module, weight: Tensor | None, bias: Tensor | None) -> nn.Module:
    for name, value in (("weight", weight), ("bias", bias)):
        if value is not None:
            setattr(layer, name, value if isinstance(value, nn.Parameter) else nn.Parameter(value, requires_grad=False))
    return layer


def _linear(given: Given) -> nn.Module:
    weight, bias = given["weight"], given.get("bias")
    with torch.device("meta"):
        layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    return _filled(layer, weight, bias)


def _times(given: Given) -> nn.Module:
    return _linear({"weight": given["other"].t().clone()})


def _group_norm(given: Given) -> nn.Module:
    layer = nn.GroupNorm(given["num_groups"], len(given["weight"]), given.get("eps", 1e-5))
    return _filled(layer, given["weight"], given.get("bias"))


def _layer_norm(given: Given) -> nn.Module:
    bias = given.get("bias")
    layer = nn.LayerNorm(tuple(given["normalized_shape"]), given.get("eps", 1e-5))
    return _filled(layer, given["weight"], torch.zeros_like(given["weight"]) if bias is None else bias)


def _batch_norm(given: Given) -> nn.Module:
    kind = {4: nn.BatchNorm2d, 5: nn.BatchNorm3d}.get(len(given["input"].meta["value"].shape), nn.BatchNorm1d)
    layer = kind(len(given["running_mean"]), given.get("eps", 1e-5))
    layer.running_mean, layer.running_var = given["running_mean"], given["running_var"]
    return _filled(layer, given.get("weight"), given.get("bias"))


def _prelu(given: Given) -> nn.Module:
    return _filled(nn.PReLU(len(given["weight"])), given["weight"], None)


_LAYERS: dict[Any, tuple[list[str], Callable[[Given], nn.Module]]] = {
    F.conv1d: (_CONV, _convolution(nn.Conv1d, False)),
    F.conv2d: (_CONV, _convolution(nn.Conv2d, False)),
    F.conv3d: (_CONV, _convolution(nn.Conv3d, False)),
    F.conv_transpose1d: (_TRANSPOSED, _convolution(nn.ConvTranspose1d, True)),
    F.conv_transpose2d: (_TRANSPOSED, _convolution(nn.ConvTranspose2d, True)),
    F.conv_transpose3d: (_TRANSPOSED, _convolution(nn.ConvTranspose3d, True)),
    F.linear: ("input weight bias".split(), _linear),
    torch.matmul: ("input other".split(), _times),
    operator.matmul: ("input other".split(), _times),
    "matmul": ("input other".split(), _times),
    F.group_norm: ("input num_groups weight bias eps".split(), _group_norm),
    F.layer_norm: ("input normalized_shape weight bias eps".split(), _layer_norm),
    F.batch_norm: ("input running_mean running_var weight bias training momentum eps".split(), _batch_norm),
    F.prelu: ("input weight".split(), _prelu),
}
"""Functions whose weights may be given, the names of their arguments, and the layer they are."""

_NEEDED = {"weight": (F.group_norm, F.layer_norm), "running_mean": (F.batch_norm,)}


def _make_layers(module: fx.GraphModule) -> None:
    made: dict[Any, str] = {}
    for node in list(module.graph.nodes):
        if node.op in ("call_function", "call_method") and node.target in _LAYERS:
            names, build = _LAYERS[node.target]
            given = {**dict(zip(names, node.args, strict=False)), **node.kwargs}
            if _weights_are_stored(node, given):
                rank = len(given["input"].meta["value"].shape) if node.target is F.batch_norm else None
                key = (str(node.target), rank, tuple((k, str(v)) for k, v in given.items() if k != "input"))
                if key not in made:
                    made[key] = _layer_for(module, node, given, build)
                _call_layer(module, node, made[key], given["input"])


def _weights_are_stored(node: fx.Node, given: Given) -> bool:
    if isinstance(given.get("other"), fx.Node):
        return given["other"].op == "get_attr" and len(given["other"].meta["value"].shape) == 2
    for name, targets in _NEEDED.items():
        if node.target in targets and given.get(name) is None:
            return False
    sources = [value for name, value in given.items() if name != "input" and isinstance(value, fx.Node)]
    return bool(sources) and all(source.op == "get_attr" for source in sources)


def _layer_for(module: fx.GraphModule, node: fx.Node, given: Given, build: Callable[[Given], nn.Module]) -> str:
    """The name of a layer for a call: the module whose weights it reads if that is such a layer, else a new one."""
    values = fx.node.map_arg(dict(given), lambda n: _attribute(module, n) if n.op == "get_attr" else n)
    layer = build(values).eval().requires_grad_(False)
    weight = next(v for k, v in given.items() if k in ("weight", "other", "running_mean") and isinstance(v, fx.Node))
    owner = str(weight.target).rpartition(".")[0]
    if owner and _may_stand_for(module.get_submodule(owner), layer):
        parent, _, name = owner.rpartition(".")
        setattr(module.get_submodule(parent), name, layer)
        return owner
    parent, _, stem = (owner or str(weight.target)).rpartition(".")
    parent_module = module.get_submodule(parent)
    name = _free_name(parent_module, f"{stem}_layer")
    parent_module.add_module(name, layer)
    return f"{parent}.{name}" if parent else name


def _may_stand_for(owner: nn.Module, layer: nn.Module) -> bool:
    """Whether the module whose weights a call reads holds nothing else (or is just such a layer)."""
    names = {name for name, _ in [*owner.named_parameters(), *owner.named_buffers()]}
    container = type(owner) is nn.Module and names <= {"weight", "bias", "running_mean", "running_var", *_folded(owner)}
    return container or (type(owner) is type(layer) and owner.extra_repr() == layer.extra_repr())


def _folded(owner: nn.Module) -> set[str]:
    return {name for name, _ in owner.named_parameters() if name.startswith(_STORED)}


def _attribute(module: fx.GraphModule, node: fx.Node) -> Any:
    return operator.attrgetter(str(node.target))(module)


def _call_layer(module: fx.GraphModule, node: fx.Node, layer: str, source: Any) -> None:
    with module.graph.inserting_before(node):
        call = module.graph.call_module(layer, (source,))
    call.meta = dict(node.meta)
    weights = [n for n in node.all_input_nodes if n.op == "get_attr"]
    node.replace_all_uses_with(call)
    module.graph.erase_node(node)
    for weight in weights:
        if not weight.users:
            module.graph.erase_node(weight)


# ---- reshapes -----------------------------------------------------------------------------------------------------
_RESHAPES = ("view", "reshape", torch.reshape, "flatten", torch.flatten, "unflatten", torch.unflatten, "view_as",
             "reshape_as")  # fmt: skip


def _plain_reshapes(module: fx.GraphModule) -> None:
    for node in module.graph.nodes:
        layer = module.get_submodule(str(node.target)) if node.op == "call_module" else None
        if node.target not in _RESHAPES and not isinstance(layer, nn.Flatten | nn.Unflatten):
            continue
        if len(node.args) > 1 and isinstance(node.args[1], torch.dtype):
            continue  # a view of the same bytes as another type
        if "shapes" in node.meta and (source := _first_input(node)) is not None:
            sizes = [a if a == b else -1 for a, b in zip(*node.meta["shapes"], strict=True)]
            if sizes.count(-1) <= 1:
                node.op, node.target, node.args, node.kwargs = "call_method", "reshape", (source, *sizes), {}


def _first_input(node: fx.Node) -> fx.Node | None:
    source = node.args[0] if node.args else node.kwargs.get("input")
    return source if isinstance(source, fx.Node) else None


def _drop_unused_tensors(module: fx.GraphModule) -> None:
    """Delete weights that are part of a constant or a layer now."""
    read = {str(n.target) for n in module.graph.nodes if n.op == "get_attr"}
    called = [str(n.target) for n in module.graph.nodes if n.op == "call_module"]
    for name in [n for n, _ in [*module.named_parameters(), *module.named_buffers()]]:
        parent, _, leaf = name.rpartition(".")
        inside = any(name.startswith(f"{target}.") for target in called)
        if name not in read and (not inside or leaf.startswith(_STORED)):
            delattr(module.get_submodule(parent), leaf)
