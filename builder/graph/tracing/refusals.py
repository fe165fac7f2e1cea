"""Networks that are not supported, each with one sentence that names the module and the remedy."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor
from torch.nn.parameter import is_lazy

from legodnn.builder.graph.tracing.state import restored
from legodnn.builder.graph.values import tensors_in
from legodnn.shared.errors import ModelError, is_shortage, one_line
from legodnn.shared.naming import few

_QUANTISED = (".quantized", ".qat", ".fake_quantize", ".observer")
_FLOATING = ("FloatFunctional", "FXFloatFunctional")
"""Modules for later quantisation, which until then only add and multiply."""

_CONTAINERS = ("list", "sequence", "iterable", "tuple", "dict", "mapping")

WRAP = "wrap the network in a module whose forward takes its tensors one by one"
"""The remedy where a network takes something else than tensors."""


def named(name: str, module: nn.Module | None = None) -> str:
    """A module in words: its name in the network and its kind."""
    kind = f" ({type(module).__name__})" if module is not None else ""
    return f"'{name}'{kind}" if name else f"the network{kind}"


def refuse_kinds(model: nn.Module) -> None:
    """Raises `ModelError` for scripted and quantised networks and those whose weights are missing or not finite."""
    if isinstance(model, torch.jit.ScriptModule):
        raise ModelError("the network is TorchScript, whose inside cannot be changed; give the Python network it was")
    for name, module in model.named_modules():
        if _is_quantised(type(module)):
            raise ModelError(f"{named(name, module)} is quantised, or ready to be; give the network as it was before")
    for name, value in _weights(model):
        owner = named(name.rpartition(".")[0], model.get_submodule(name.rpartition(".")[0]))
        if is_lazy(value):
            raise ModelError(f"{owner} has no '{name.rpartition('.')[2]}' yet; run the network once on an example")
        if value.is_meta:
            raise ModelError(
                f"{owner} has no weights: its '{name.rpartition('.')[2]}' is on the meta device; make the network on "
                "a real device and load its weights"
            )
    _refuse_bad_weights(model)


def _is_quantised(kind: type) -> bool:
    if not kind.__module__.startswith("torch.") or kind.__name__ in _FLOATING:
        return False
    return any(part in kind.__module__ for part in _QUANTISED)


def _weights(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from model.named_parameters()
    yield from model.named_buffers()


def _refuse_bad_weights(model: nn.Module) -> None:
    with torch.no_grad():
        bad = [name for name, v in _weights(model) if v.is_floating_point() and not torch.isfinite(v).all()]
    if bad:
        raise ModelError(f"weights that are not finite numbers in {few(bad)}; train or load them again")


def refuse_inputs(model: nn.Module, inputs: Sequence[Tensor]) -> None:
    """Raises `ModelError` where the network's forward does not take that many tensors, or the tensors are empty."""
    for x in inputs:
        if not x.numel():
            raise ModelError(f"an input of shape {tuple(x.shape)} holds no numbers; give sizes of 1 and more")
    parameters = inspect.signature(model.forward).parameters.values()
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    places = [p for p in parameters if p.kind in kinds]
    needed = [p.name for p in places if p.default is p.empty]
    rest = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    few, many = len(inputs) < len(needed), len(inputs) > len(places) and not rest
    if few or many:
        remedy = "give one for each" if few else WRAP
        raise ModelError(
            f"the network's forward takes ({', '.join(needed if few else [p.name for p in places])}) and "
            f"{len(inputs)} input sizes are given; {remedy}"
        )
    for parameter in places[: len(inputs)]:
        kind = str(getattr(parameter.annotation, "__name__", parameter.annotation))
        kind = kind.rpartition("typing.")[2].partition("[")[0].lower()
        if kind in _CONTAINERS:
            raise ModelError(f"the network's '{parameter.name}' is a {kind} and not a tensor; {WRAP}")


def answer(model: nn.Module, inputs: Sequence[Tensor]) -> list[Tensor]:
    """The tensors a network returns. Raises `ModelError` where it does not run on the inputs, unless for want of
    memory."""
    try:
        with restored(model):
            return [t.clone() for t in tensors_in(model(*[x.clone() for x in inputs]))]
    except Exception as error:
        if is_shortage(error):
            raise
        shapes = ", ".join(str(tuple(x.shape)) for x in inputs)
        raise ModelError(
            f"the network does not run on an input of shape {shapes}: {_where(model, error)}{one_line(error)}"
        ) from error


def _where(model: nn.Module, error: Exception) -> str:
    """The innermost module in which an exception was raised, as the start of a sentence; empty where there is none."""
    names = {id(module): name for name, module in model.named_modules()}
    found, trace = "", error.__traceback__
    while trace is not None:
        module: Any = trace.tb_frame.f_locals.get("self")
        if names.get(id(module)):
            found = f"in {named(names[id(module)], module)}, "
        trace = trace.tb_next
    return found
