"""In-place operations rewritten so that no operation changes its input.

Operations that change their input tie distant parts of a graph together: they are replaced by ones that leave it
alone, with every later reader of the changed tensor pointed at the result.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor, fx

from legodnn.builder.graph.values import facts_of, place, tensors_in
from legodnn.shared.errors import ModelError

_OUT_OF_PLACE: dict[Any, Callable[..., Any]] = {
    operator.iadd: operator.add,
    operator.isub: operator.sub,
    operator.imul: operator.mul,
    operator.itruediv: operator.truediv,
}


@dataclass(frozen=True)
class Mutation:
    """A node that changes one of its inputs.

    ``aliases`` are all names the changed tensor goes by; ``views`` are live values that look at parts of its memory.
    """

    node: fx.Node
    changed: fx.Node
    returns_changed: bool
    aliases: tuple[fx.Node, ...]
    views: tuple[fx.Node, ...]


class _Observer(fx.Interpreter):
    """Runs the graph once; notes facts and which inputs a node changes."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.mutations: list[Mutation] = []

    def get_attr(self, target: Any, args: Any, kwargs: Any) -> Any:
        value = super().get_attr(target, args, kwargs)
        return value if isinstance(value, nn.Parameter) else value.clone()  # networks count in their buffers

    def run_node(self, n: fx.Node) -> Any:
        before = {i: [t._version for t in tensors_in(self.env[i])] for i in n.all_input_nodes}
        value = super().run_node(n)
        n.meta["value"] = facts_of(value)
        changed = [i for i, versions in before.items() if [t._version for t in tensors_in(self.env[i])] != versions]
        for source in changed[:1]:  # the others look at the same memory
            tensors = tensors_in(self.env[source])
            same = isinstance(value, Tensor) and any(_is_same(value, t) for t in tensors)
            self.mutations.append(Mutation(n, source, same, *self._others(source)))
        return value

    def _others(self, source: fx.Node) -> tuple[tuple[fx.Node, ...], tuple[fx.Node, ...]]:
        tensors = tensors_in(self.env[source])
        memory = _memory(tensors)
        sharing = {node: tensors_in(value) for node, value in self.env.items() if _memory(value) & memory}
        aliases = [
            node
            for node, values in sharing.items()
            if len(values) == len(tensors) and all(_is_same(a, b) for a, b in zip(values, tensors, strict=True))
        ]
        return tuple(aliases), tuple(node for node in sharing if node not in aliases)


def _is_same(a: Tensor, b: Tensor) -> bool:
    return a.data_ptr() == b.data_ptr() and a.shape == b.shape and a.stride() == b.stride() and a.dtype == b.dtype


def _memory(value: Any) -> set[int]:
    return {t.untyped_storage().data_ptr() for t in tensors_in(value)}


def observe(module: fx.GraphModule, inputs: Sequence[Tensor]) -> list[Mutation]:
    """Run the graph once on example inputs, store every node's facts anew, and tell what changed its input."""
    observer = _Observer(module)
    with torch.no_grad():
        observer.run(*[x.clone() for x in inputs])
    return observer.mutations


def set_item(target: Tensor, index: Any, value: Any) -> Tensor:
    """``target`` with ``target[index]`` replaced, as a new tensor."""
    result = target.clone()
    result[index] = value
    return result


def functionalise(module: fx.GraphModule, mutations: Sequence[Mutation]) -> None:
    """Rewrite every operation that changed an input so that it returns a new tensor instead.

    Raises `ModelError` where a view of the changed tensor is read afterwards under its own name.
    """
    order = {node: position for position, node in enumerate(module.graph.nodes)}
    _refuse_shared_views(mutations, order)
    current: dict[fx.Node, fx.Node] = {}
    for mutation in mutations:
        node = mutation.node
        changed = current.get(mutation.changed, mutation.changed)
        if node.target is operator.setitem:
            node.target, result = set_item, node
            node.meta.update({key: changed.meta[key] for key in ("value", "shapes") if key in changed.meta})
        elif mutation.returns_changed and _make_out_of_place(module, node):
            result = node
        else:  # an operation of unknown inside works on a copy, and the copy stands for the changed tensor
            with module.graph.inserting_before(node):
                result = module.graph.call_method("clone", (changed,))
            node.replace_input_with(changed, result)
        for name in {mutation.changed: None, **dict.fromkeys(mutation.aliases)}:
            _redirect(name, result, current, order, node)
        if (base := _base(mutation)) is not None:
            with module.graph.inserting_after(max(node, result)):
                index = mutation.changed.args[1]
                whole = module.graph.call_function(set_item, (current.get(base, base), index, result))
            _redirect(base, whole, current, order, node)
    # In-place layers that no example changed (say, on the network's own input) are harmless but ambiguous.
    for child in module.modules():
        if getattr(child, "inplace", None) is True and not isinstance(child, torch.jit.ScriptModule):
            child.inplace = False


def _redirect(
    name: fx.Node, result: fx.Node, current: dict[fx.Node, fx.Node], order: Mapping[fx.Node, int], node: fx.Node
) -> None:
    """Who reads the tensor called ``name`` after ``node`` reads ``result`` instead."""
    old = current.get(name, name)
    for user in list(old.users):
        if user not in (node, result) and order.get(user, -1) > order[node]:
            user.replace_input_with(old, result)
    current[name] = result


def _base(mutation: Mutation) -> fx.Node | None:
    """The tensor that changes as well when a part taken from it by an index is changed."""
    source = mutation.changed.args[0] if mutation.changed.target is operator.getitem else None
    return source if isinstance(source, fx.Node) and source in mutation.views else None


def _refuse_shared_views(mutations: Sequence[Mutation], order: Mapping[fx.Node, int]) -> None:
    """A view of a tensor that is changed in place, read afterwards under its own name, cannot be told apart here."""
    for mutation in mutations:
        for view in mutation.views:
            later = any(order[user] > order[mutation.node] for user in view.users)
            if later and view is not _base(mutation):
                raise ModelError(
                    f"'{mutation.node.name}' changes '{mutation.changed.name}' in place while '{view.name}' still "
                    f"looks at the same memory ({place(mutation.node)}); make that operation out-of-place"
                )


def _make_out_of_place(module: fx.GraphModule, node: fx.Node) -> bool:
    if node.op == "call_module":
        layer = module.get_submodule(str(node.target))
        if isinstance(getattr(layer, "inplace", None), bool):  # it may be in several places, and off already
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
