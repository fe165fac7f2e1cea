"""Tracing: a network becomes an fx graph that can be cut anywhere.

Two things stand between ``torch.fx`` and that goal. A module whose inside cannot be traced must cost one leaf, never
the network; and operations that change their input in place tie distant parts of the graph together, so they are
rewritten to leave their input alone, with every later reader of the changed tensor pointed at the result.
"""

from __future__ import annotations

import copy
import inspect
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor, fx

from legodnn.shared.errors import ModelError

_OUT_OF_PLACE: dict[Any, Callable[..., Any]] = {
    operator.iadd: operator.add,
    operator.isub: operator.sub,
    operator.imul: operator.mul,
    operator.itruediv: operator.truediv,
}


class _Tracer(fx.Tracer):
    """Traces through everything except torch's own layers and the modules named in ``leaves``."""

    def __init__(self, leaves: set[str]) -> None:
        super().__init__()
        self.leaves = leaves
        self.failed: str | None = None

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return module_qualified_name in self.leaves or super().is_leaf_module(m, module_qualified_name)

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        try:
            return super().call_module(m, forward, args, kwargs)
        except Exception:
            if self.failed is None:  # the innermost module sees the exception first
                self.failed = self.path_of_module(m)
            raise


def trace(model: nn.Module, inputs: Sequence[Tensor]) -> fx.GraphModule:
    """Trace ``model`` (left untouched) on example ``inputs`` and return a graph module in eval mode.

    Every node carries ``meta["value"]``, a `ValueFacts`; no operation of the result changes its input in place.
    Modules that cannot be traced inside become leaves, innermost first. Raises `ModelError` when the top level itself
    cannot be traced or the network does not run on the inputs.
    """
    # The output of a module may alias its input, so gradients stay off: they would forbid in-place changes of views.
    model = copy.deepcopy(model).eval().requires_grad_(False)
    try:
        with torch.no_grad():
            model(*[x.clone() for x in inputs])
    except Exception as error:
        shapes = ", ".join(str(tuple(x.shape)) for x in inputs)
        raise ModelError(f"the network does not run on an input of shape {shapes}: {one_line(error)}") from error
    module = _symbolic(model, len(inputs))
    _functionalise(module, observe(module, inputs))
    observe(module, inputs)
    return module


def _symbolic(model: nn.Module, inputs: int) -> fx.GraphModule:
    parameters = list(inspect.signature(model.forward).parameters.values())
    defaults = {p.name: p.default for p in parameters[inputs:] if p.default is not inspect.Parameter.empty}
    leaves: set[str] = set()
    while True:
        tracer = _Tracer(leaves)
        try:
            graph = tracer.trace(model, concrete_args=defaults or None)
        except Exception as error:
            if tracer.failed is None or tracer.failed in leaves:
                raise ModelError(f"the network's top level cannot be traced: {one_line(error)}") from error
            leaves.add(tracer.failed)
            continue
        _drop_fixed_arguments(graph, inputs)
        return fx.GraphModule(model, graph).eval()


def _drop_fixed_arguments(graph: fx.Graph, inputs: int) -> None:
    for node in [n for n in graph.nodes if n.op == "placeholder"][inputs:]:
        for user in list(node.users):
            graph.erase_node(user)  # the guards fx puts on arguments fixed to their defaults
        graph.erase_node(node)


def one_line(error: BaseException) -> str:
    """The first line that says something of an exception's text, or its type's name."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


@dataclass(frozen=True)
class ValueFacts:
    """What is known of a node's value: a tensor's shape and dtype, or whether it holds tensors at all."""

    is_tensor: bool
    holds_tensors: bool
    shape: tuple[int, ...] = ()
    dtype: torch.dtype | None = None

    @property
    def bytes(self) -> int:
        """Bytes of the tensor; 0 where the value is none."""
        if not self.is_tensor or self.dtype is None:
            return 0
        return int(torch.Size(self.shape).numel()) * torch.empty(0, dtype=self.dtype).element_size()


def facts(node: fx.Node) -> ValueFacts:
    """The facts that `trace` stored with a node."""
    found: ValueFacts = node.meta["value"]
    return found


def _facts_of(value: Any) -> ValueFacts:
    if isinstance(value, Tensor):
        return ValueFacts(True, True, tuple(value.shape), value.dtype)
    return ValueFacts(False, bool(_tensors(value)))


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, (list, tuple)) and not isinstance(value, torch.Size):
        return [t for item in value for t in _tensors(item)]
    return []


@dataclass
class _Mutation:
    node: fx.Node
    changed: fx.Node
    returns_changed: bool


class _Observer(fx.Interpreter):
    """Runs the graph once; notes facts, which inputs a node changes, and which values share memory."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module, garbage_collect_values=False)
        self.mutations: list[_Mutation] = []
        self.storages: dict[fx.Node, set[int]] = {}

    def run_node(self, n: fx.Node) -> Any:
        before = {i: [t._version for t in _tensors(self.env[i])] for i in n.all_input_nodes}
        value = super().run_node(n)
        n.meta["value"] = _facts_of(value)
        self.storages[n] = {t.untyped_storage().data_ptr() for t in _tensors(value)}
        for source, versions in before.items():
            tensors = _tensors(self.env[source])
            if [t._version for t in tensors] != versions:
                same = isinstance(value, Tensor) and any(value.data_ptr() == t.data_ptr() for t in tensors)
                self.mutations.append(_Mutation(n, source, same))
        return value


def observe(module: fx.GraphModule, inputs: Sequence[Tensor]) -> _Observer:
    """Run the graph once on example inputs and store every node's facts anew."""
    observer = _Observer(module)
    with torch.no_grad():
        observer.run(*[x.clone() for x in inputs])
    return observer


def _functionalise(module: fx.GraphModule, observer: _Observer) -> None:
    """Rewrite every operation that changed an input so that it returns a new tensor instead."""
    order = {node: position for position, node in enumerate(module.graph.nodes)}
    mutations = {(m.node, m.changed): m for m in observer.mutations}
    for mutation in mutations.values():
        _refuse_shared_views(mutation, observer, order, mutations)
    for mutation in observer.mutations:
        node, changed = mutation.node, mutation.changed
        if mutation.returns_changed and _make_out_of_place(module, node):
            result = node
        else:  # an operation of unknown inside works on a copy, and the copy stands for the changed tensor
            with module.graph.inserting_before(node):
                result = module.graph.call_method("clone", (changed,))
            node.replace_input_with(changed, result)
        for user in list(changed.users):
            if user not in (node, result) and order.get(user, -1) > order[node]:
                user.replace_input_with(changed, result)
    for node in module.graph.nodes:
        if node.op == "call_method" and node.target == "view" and not isinstance(node.args[1], torch.dtype):
            node.target = "reshape"  # the same numbers, also where an image's channels lie innermost in memory
    # In-place layers that no example changed (say, on the network's own input) are harmless but ambiguous.
    for child in module.modules():
        if getattr(child, "inplace", None) is True:
            child.inplace = False
    module.graph.lint()
    module.recompile()


def _refuse_shared_views(
    mutation: _Mutation,
    observer: _Observer,
    order: dict[fx.Node, int],
    mutations: Mapping[tuple[fx.Node, fx.Node], _Mutation],
) -> None:
    """A view of a tensor that is changed in place, read afterwards under its own name, cannot be told apart here."""
    node, changed = mutation.node, mutation.changed
    same_value = {changed, node} | {m.node for m in mutations.values() if m.returns_changed}
    for other, storages in observer.storages.items():
        if other in same_value or order[other] > order[node] or not storages & observer.storages[changed]:
            continue
        if any(order[user] > order[node] for user in other.users):
            raise ModelError(
                f"'{node.name}' changes '{changed.name}' in place while '{other.name}' still looks at the same memory; "
                "make that operation out-of-place"
            )


def _make_out_of_place(module: fx.GraphModule, node: fx.Node) -> bool:
    if node.op == "call_module":
        layer = module.get_submodule(str(node.target))
        if getattr(layer, "inplace", None) is True:
            layer.inplace = False
            return True
        return False
    if node.op == "call_method":
        name = str(node.target)
        if name.endswith("_") and hasattr(Tensor, name[:-1]):
            node.target = name[:-1]
            return True
        return False
    return _function_out_of_place(node)


def _function_out_of_place(node: fx.Node) -> bool:
    function: Any = node.target
    if function in _OUT_OF_PLACE:
        node.target = _OUT_OF_PLACE[function]
        return True
    name = getattr(function, "__name__", "")
    if name.endswith("_"):
        for home in (torch, nn.functional):
            if hasattr(home, name[:-1]):
                node.target = getattr(home, name[:-1])
                return True
    try:
        bound = inspect.signature(function).bind(*node.args, **node.kwargs)
    except (TypeError, ValueError):
        return False
    if not bound.arguments.get("inplace"):
        return False
    bound.arguments["inplace"] = False
    node.args, node.kwargs = bound.args, bound.kwargs
    return True
