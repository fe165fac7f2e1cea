"""What a traced network computes, as short texts that change when it changes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor, fx

from legodnn.builder.graph.torchscript import scripted_attributes
from legodnn.builder.workdir.sources import sources_of

_DEPTH = 4
"""How deep attributes of modules are looked into: lists of tuples of numbers are common, deeper ones are not; not
tuned."""


def identity(network: fx.GraphModule) -> dict[str, str]:
    """The network's weights, its structure, and the source code of modules in it that are a user's own, by name.

    The weights include buffers that are not stored, as which `trace` keeps tensors that are plain attributes; the
    structure includes modules without weights: their types and their attributes.
    """
    tensors = {**network.state_dict(), **dict(network.named_buffers(remove_duplicate=False))}
    found = {"network's weights": digest_of_tensors(tensors), "network's structure": _structure(network)}
    for thing in _called(network):
        found.update({f"network's code: {name}": value for name, value in sources_of(thing).items()})
    return found


def _called(network: fx.GraphModule) -> list[Any]:
    """The classes of the modules, and the functions that the graph calls, each once."""
    kinds: list[Any] = [type(module) for module in network.modules() if not isinstance(module, fx.GraphModule)]
    functions = [node.target for node in network.graph.nodes if node.op == "call_function"]
    return [thing for thing in dict.fromkeys(kinds + functions) if getattr(thing, "__module__", None)]


def digest_of_tensors(tensors: Mapping[str, Tensor]) -> str:
    """A digest of tensors and their names, types and shapes."""
    digest = hashlib.sha256()
    for name, value in tensors.items():
        digest.update(f"{name}:{value.dtype}:{tuple(value.shape)}".encode())
        digest.update(tensor_bytes(value))
    return digest.hexdigest()


def tensor_bytes(value: Tensor) -> bytes:
    """The tensor's elements in order, as they lie in memory."""
    return value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def _structure(network: fx.GraphModule) -> str:
    rows: list[Any] = [network.code]
    for name, module in network.named_modules():
        if module is not network:
            kind = type(module)
            rows.append([name, f"{kind.__module__}.{kind.__qualname__}", _described(module)])
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def _described(module: nn.Module) -> Any:
    """The attributes of a module, and the program of a scripted one."""
    if isinstance(module, torch.jit.ScriptModule):
        return [module.code, {name: _text(value, _DEPTH) for name, value in scripted_attributes(module).items()}]
    return dict(_attributes(module))


def _attributes(module: nn.Module) -> Iterator[tuple[str, str]]:
    """The attributes of a module that are plain values or functions."""
    for name, value in sorted(vars(module).items()):
        if name not in ("_parameters", "_buffers", "_modules", "_code", "_graph", "meta"):
            text = _text(value, _DEPTH)
            if text is not None:
                yield name, text


def _text(value: Any, depth: int) -> str | None:
    """A text that is the same in every process; None for what has none."""
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        return repr(value)
    if isinstance(value, Tensor):
        return digest_of_tensors({"": value})
    if depth and isinstance(value, list | tuple | set | frozenset):
        parts = [_text(item, depth - 1) or type(item).__qualname__ for item in value]
        return f"{type(value).__name__}({', '.join(sorted(parts) if isinstance(value, set | frozenset) else parts)})"
    if depth and isinstance(value, Mapping):
        parts = [f"{_text(k, depth - 1)}: {_text(v, depth - 1) or type(v).__qualname__}" for k, v in value.items()]
        return f"{type(value).__name__}({', '.join(parts)})"
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    return None
