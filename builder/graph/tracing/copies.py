"""Deep copies of networks that hold things which cannot be copied, and of weights that several layers share."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn as nn
from torch import fx

from legodnn.builder.graph.tracing.refusals import named
from legodnn.builder.graph.values import tensors_in
from legodnn.shared.errors import ModelError, one_line

_WEIGHTS = ("_parameters", "_buffers", "_modules")


def copied(model: nn.Module) -> nn.Module:
    """A deep copy, which shares what cannot be copied: a lock, a file, a scripted function.

    Tensors that networks keep from an earlier run have a gradient graph and are copied without it. Raises `ModelError`
    where that does not help.
    """
    attributes = [value for m in model.modules() for name, value in vars(m).items() if name != "_modules"]
    memo: dict[int, Any] = {id(t): t.detach().clone() for t in tensors_in(attributes) if not t.is_leaf}
    with torch.no_grad():  # otherwise scripted modules copy their gradients' graph
        try:
            return copy.deepcopy(model, dict(memo))
        except Exception:
            memo.update({id(value): value for value in attributes if not _copies(value, memo)})
        try:
            return copy.deepcopy(model, memo)
        except Exception as error:
            raise ModelError(f"the network cannot be copied: {one_line(error)}") from error


def _copies(value: Any, memo: Mapping[int, Any]) -> bool:
    try:
        copy.deepcopy(value, dict(memo))
    except Exception:
        return False
    return True


def untied(model: nn.Module) -> dict[str, str]:
    """Give every layer that shares a weight a copy of its own; returns the copies' full names with those they were
    shared with.

    The layers compute the same, but may lose different channels. The bundle has the weight twice.
    """
    seen: dict[int, str] = {}
    copies: dict[str, str] = {}
    for path, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            continue
        for name, value in [*module._parameters.items(), *module._buffers.items()]:
            if value is None:
                continue
            full = f"{path}.{name}" if path else name
            if id(value) in seen:
                setattr(module, name, copy.deepcopy(value))
                copies[full] = seen[id(value)]
            seen.setdefault(id(value), full)
    return copies


def refuse_uncopied(module: fx.GraphModule) -> None:
    """Raises `ModelError` where a module that is called in a graph holds what cannot be copied."""
    called = dict.fromkeys(str(n.target) for n in module.graph.nodes if n.op == "call_module")
    for name in called:
        for layer in module.get_submodule(name).modules():
            kept = {} if isinstance(layer, torch.jit.ScriptModule) else vars(layer)
            for attribute, value in kept.items():
                if attribute not in _WEIGHTS and not _copies(value, {}):
                    raise ModelError(
                        f"{named(name, layer)} has an attribute '{attribute}' that cannot be copied; set it to None"
                    )
