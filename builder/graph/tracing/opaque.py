"""Modules that are kept whole."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor, fx

from legodnn.builder.graph.torchscript import TracerWarning, trace
from legodnn.builder.graph.tracing.attention import PlainAttention
from legodnn.builder.graph.tracing.refusals import named
from legodnn.builder.graph.tracing.state import restored
from legodnn.builder.graph.tracing.twins import Call
from legodnn.builder.graph.values import tensors_in
from legodnn.shared.errors import ModelError, one_line


class Opaque(nn.Module):
    """A module the tracer keeps as a leaf, for what depends on the data (non-maximum suppression, say).

    Tensors (or lists of them) in, one tensor or a tuple of tensors out. Its ``forward`` must be what
    ``torch.jit.script`` can compile; it belongs to the trunk, and the channels of its inputs are not prunable.

    ``decides`` says whether it makes a data-dependent selection: small changes of its inputs can change the result by
    any amount, and networks are compared by its inputs. A subclass whose result changes in proportion to its inputs
    sets it to False.
    """

    decides = True


class Whole(nn.Module):
    """A network's own layer, wrapped so that its class says nothing of what it computes.

    A class derived from a layer of torch may compute something else, and its weights must not be pruned as that
    layer's.
    """

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The layer's result."""
        return self.inner(*args, **kwargs)


Calls = Mapping[str, tuple[Call, Call]]


def keep_whole(module: fx.GraphModule, reasons: Mapping[str, str], calls: Calls) -> None:
    """Make the modules in ``calls`` exportable, in place.

    ``calls`` has the arguments of each at two batch sizes, ``reasons`` why it is a leaf. A module whose control flow
    depends on the data or the batch size is scripted, since tracing it would record one case only. Raises `ModelError`
    where `torch.jit.script` fails.
    """
    for name, given in calls.items():
        layer = module.get_submodule(name)
        if isinstance(layer, torch.jit.ScriptModule) or type(layer).__module__.startswith("torch.nn."):
            continue
        with restored(layer):
            scripted = _traces_wrongly(layer, given)
        if scripted:
            _put(module, name, _scripted(name, layer, reasons.get(name, "it is opaque")))
        elif any(k.__module__.startswith("torch.nn.") and k is not nn.Module for k in type(layer).__mro__):
            _put(module, name, Whole(layer))


def _put(module: nn.Module, name: str, layer: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(module.get_submodule(parent), child, layer)


def _traces_wrongly(layer: nn.Module, calls: Sequence[Call]) -> bool:
    """Whether a trace of ``layer`` would be wrong for other data or batch sizes."""
    args, kwargs = calls[0]
    given = tensors_in([args, kwargs])

    def run(*tensors: Tensor) -> tuple[Tensor, ...]:
        now = {id(old): new for old, new in zip(given, tensors, strict=True)}
        again, named_again = fx.node.map_aggregate((args, kwargs), lambda item: now.get(id(item), item))
        return tuple(tensors_in(layer(*again, **named_again)))

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        written = trace(run, tuple(given), check_trace=False)
    if any(issubclass(w.category, TracerWarning) for w in caught):
        return True
    return not all(_agree(written(*tensors_in([a, k])), tensors_in(layer(*a, **k))) for a, k in calls[1:])


def _agree(found: Sequence[Tensor], expected: Sequence[Tensor]) -> bool:
    return all(a.shape == b.shape and torch.allclose(a, b) for a, b in zip(found, expected, strict=True))


def _scripted(name: str, layer: nn.Module, why: str) -> nn.Module:
    for place, child in list(layer.named_modules()):
        if isinstance(child, PlainAttention) and place:
            _put(layer, place, child.original[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that TorchScript is deprecated is known: devices have old torch
        try:
            compiled: nn.Module = torch.jit.script(layer)
        except Exception as error:
            raise ModelError(
                f"{named(name, layer)} cannot be followed ({why}), and torch.jit.script cannot compile it "
                f"({one_line(error)}); write its forward in what TorchScript knows"
            ) from error
    return compiled
