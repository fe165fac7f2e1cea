"""In-place operations rewritten so that no operation changes its input.

Operations that change their input tie distant parts of a graph together: they are replaced by ones that leave it
alone, with every later reader of the changed tensor pointed at the result.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor, fx

from legodnn.builder.graph.tracing.mutations import Mutation
from legodnn.builder.graph.values import source_line
from legodnn.shared.errors import ModelError

_OUT_OF_PLACE: dict[Any, Callable[..., Any]] = {
    operator.iadd: operator.add,
    operator.isub: operator.sub,
    operator.imul: operator.mul,
    operator.itruediv: operator.truediv,
}


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
        else:  # an operation without an out-of-place form works on a copy, which then replaces the changed tensor
            with module.graph.inserting_before(node):
                result = module.graph.call_method("clone", (changed,))
            node.replace_input_with(changed, result)
        for name in {mutation.changed: None, **dict.fromkeys(mutation.aliases)}:
            _redirect(name, result, current, order, node)
        if (base := _base(mutation)) is not None:
            with module.graph.inserting_after(node):
                index = mutation.changed.args[1]
                whole = module.graph.call_function(set_item, (current.get(base, base), index, result))
            _redirect(base, whole, current, order, node)
    # In-place layers that no example changed (say, on the network's own input) are harmless but ambiguous.
    for child in module.modules():
        if getattr(child, "inplace", None) is True and not isinstance(child, torch.jit.ScriptModule):
            child.inplace = False  # type: ignore[assignment]


def _redirect(
    name: fx.Node, result: fx.Node, current: dict[fx.Node, fx.Node], order: Mapping[fx.Node, int], node: fx.Node
) -> None:
    """Make all that read the tensor called ``name`` after ``node`` read ``result`` instead."""
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
    """Raises `ModelError` where a view of a tensor is read after that tensor was changed in place."""
    for mutation in mutations:
        for view in mutation.views:
            later = any(order[user] > order[mutation.node] for user in view.users)
            if later and view is not _base(mutation):
                raise ModelError(
                    f"'{mutation.node.name}' changes '{mutation.changed.name}' in place while '{view.name}' still "
                    f"looks at the same memory ({source_line(mutation.node)}); make that operation out-of-place"
                )


def _make_out_of_place(module: fx.GraphModule, node: fx.Node) -> bool:
    if node.op == "call_module":
        layer = module.get_submodule(str(node.target))
        if isinstance(getattr(layer, "inplace", None), bool):  # it may be called several times, and off already
            layer.inplace = False  # type: ignore[assignment]
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
        for owner in (torch, nn.functional):
            if hasattr(owner, name[:-1]):
                node.target = getattr(owner, name[:-1])
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
