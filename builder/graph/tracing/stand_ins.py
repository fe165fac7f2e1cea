"""Replacements for parts of Python and torch while a network is traced.

Some functions of torch do not dispatch on proxies: factories take sizes only, attention is one fused operation. Each is
replaced by one that is recorded. Leaves run with the originals.
"""

from __future__ import annotations

import builtins
import contextlib
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Protocol
from unittest import mock

import torch
from torch import fx
from torch._functorch import utils as functorch
from torch.autograd.function import FunctionCtx

from legodnn.builder.graph.tracing.proxies import Value

FACTORIES = ("arange", "empty", "eye", "full", "linspace", "ones", "tensor", "zeros")


class Recorder(Protocol):
    """The part of the tracer that stand-ins use: whether a recorded operation is running, and how to record a call."""

    running: bool

    def create_proxy(self, kind: str, target: Any, args: Any, kwargs: Any) -> Any:
        """Record one call and return what the network's code gets for it."""


@contextlib.contextmanager
def standing_in(recorder: Recorder) -> Iterator[None]:
    """All stand-ins, while the context lasts."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch 2.1 lists its functions at the first call and warns of old names in it
        torch.overrides.get_overridable_functions()
    attention: Any = getattr(torch.backends, "mha", None)  # torch 2.1 has no such switch
    with contextlib.ExitStack() as stack:
        if attention is not None:
            stack.callback(attention.set_fastpath_enabled, attention.get_fastpath_enabled())
            attention.set_fastpath_enabled(False)  # what torch fuses into one operation cannot be followed
        # Functions registered with torch.fx.wrap would be recorded whole; this tracer traces into them.
        stack.enter_context(mock.patch.dict(fx._symbolic_trace._wrapped_fns_to_patch, clear=True))
        for name in FACTORIES:
            stack.enter_context(mock.patch.object(torch, name, _recorded(recorder, getattr(torch, name))))
        stack.enter_context(mock.patch.object(FunctionCtx, "mark_dirty", lambda *args: None))  # takes real tensors only
        if hasattr(functorch, "unwrap_if_dead"):  # torch 2.1: what `isinstance` takes for a tensor goes to C++
            stack.enter_context(mock.patch.object(functorch, "unwrap_if_dead", lambda x: x))
        for owner, name, stand_in in (
            (torch.autocast, "__enter__", _unless_followed),
            (torch.autocast, "__exit__", _unless_followed),
            (torch.jit.ScriptFunction, "__call__", _as_written),
        ):
            stack.enter_context(mock.patch.object(owner, name, stand_in(recorder, getattr(owner, name))))
        compiler = sys.modules.get("torch._dynamo.config")
        if compiler is not None:  # compiled functions run as they were written
            stack.enter_context(compiler.patch(error_on_nested_fx_trace=False))
        stack.enter_context(mock.patch.object(builtins, "isinstance", _is_instance(isinstance)))
        yield


def _recorded(recorder: Recorder, original: Callable[..., Any]) -> Callable[..., Any]:
    """``torch.zeros`` and its like become part of the graph while the network's own code runs."""

    def factory(*args: Any, **kwargs: Any) -> Any:
        if recorder.running:
            return original(*args, **kwargs)
        return recorder.create_proxy("call_function", original, args, kwargs)

    return factory


def _as_written(recorder: Recorder, original: Callable[..., Any]) -> Callable[..., Any]:
    """A scripted function runs as the Python it was made of, which torch remembers."""

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        written = None if recorder.running else getattr(self, "_torchdynamo_inline", None)
        return original(self, *args, **kwargs) if written is None else written(*args, **kwargs)

    return call


def _unless_followed(recorder: Recorder, original: Callable[..., Any]) -> Callable[..., Any]:
    """A network is traced in float32: autocast does nothing meanwhile."""
    return lambda self, *args: original(self, *args) if recorder.running else self if not args else None


def _is_instance(original: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    """``isinstance`` for a `Value` is that of its example.

    Setting ``__class__`` on it instead would also convince C++, which would then read a tensor's memory where there is
    none.
    """

    def is_instance(value: Any, kinds: Any) -> bool:
        return original(value, kinds) or (type(value) is Value and original(value.examples[0], kinds))

    return is_instance


def made_anew(factory: str, like: Value, *sizes: Any, **options: Any) -> Any:
    """``x.new_zeros(...)`` and its like as calls of the factory itself, with the dtype and device of ``x``."""
    listed = factory == "full" or (len(sizes) == 1 and isinstance(sizes[0], tuple | list))
    size = sizes[0] if listed else sizes
    options = {"dtype": like.dtype, "device": like.device, **options}
    return getattr(torch, factory)(size, *sizes[1 if listed else len(sizes) :], **options)
