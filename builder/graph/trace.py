"""Tracing: a network becomes an fx graph that can be cut anywhere.

The tracer knows what every value is at two batch sizes. What is a plain number in both (a channel count, an image's
height) is a plain number to the network's own code, so conditions and loops over shapes just run; what differs is the
batch size's doing and stays symbolic. What depends on the data cannot be followed: the innermost module around it is
then kept whole, which costs one leaf, never the network.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch.nn as nn
from torch import Tensor, fx
from torch.fx.proxy import Attribute

from legodnn.builder.graph.attention import attend
from legodnn.builder.graph.canonical import canonicalise
from legodnn.builder.graph.functional import functionalise, observe
from legodnn.builder.graph.opaque import Opaque
from legodnn.builder.graph.prepare import answer, prepared
from legodnn.builder.graph.rules import is_known_whole
from legodnn.builder.graph.values import one_line
from legodnn.shared.errors import ModelError

_FACTORIES = ("arange", "empty", "eye", "full", "linspace", "ones", "tensor", "zeros")

_ABOUT_SHAPE = frozenset(
    "size dim ndimension numel nelement stride element_size storage_offset get_device type len getattr is_contiguous "
    "is_floating_point is_complex is_tensor has_names".split()
)
"""Operations that read a number off a tensor without looking at its data."""

_SHAPED_BY_DATA = frozenset("nonzero argwhere masked_select unique unique_consecutive nms batched_nms".split())

_TRANSPARENT = (
    nn.Sequential, nn.Transformer, nn.TransformerEncoder, nn.TransformerEncoderLayer, nn.TransformerDecoder,
    nn.TransformerDecoderLayer,
)  # fmt: skip
"""Modules of torch that are made of others."""


class _Untraceable(Exception):
    """A place that cannot be followed, and why."""


class _Value(fx.Proxy):
    """A proxy that knows what it stands for at two batch sizes; ``constant`` where no input went into it."""

    def __init__(self, node: fx.Node, tracer: _Tracer, examples: tuple[Any, Any], constant: bool) -> None:
        super().__init__(node, tracer)
        self.examples = examples
        self.constant = constant

    @property
    def __class__(self) -> type:  # networks ask isinstance(x, Tensor)
        return Tensor if isinstance(self.examples[0], Tensor) else _Value

    def __getattr__(self, name: str) -> Any:
        first, second = (getattr(example, name) for example in self.examples)
        if callable(first):
            return Attribute(self, name)
        if name == "shape":
            return self.size()
        if isinstance(first, Tensor) or first != second:
            return self.tracer.create_proxy("call_function", getattr, (self, name), {})
        return first

    def _number(self, what: str) -> Any:
        if self.constant:
            return self.examples[0]
        if isinstance(self.examples[0], Tensor):
            raise _Untraceable(f"{what} depends on the data of '{self.node.name}'")
        raise _Untraceable(f"{what} depends on the batch size ('{self.node.name}')")

    def __bool__(self) -> bool:
        return bool(self._number("a condition"))

    def __int__(self) -> int:
        return int(self._number("a number"))

    def __float__(self) -> float:
        return float(self._number("a number"))

    def __index__(self) -> int:
        return operator.index(self._number("a number"))

    def __len__(self) -> int:
        first, second = (len(example) for example in self.examples)
        if first != second:
            raise _Untraceable(f"the length of '{self.node.name}' is the batch size")
        return first

    def __iter__(self) -> Iterator[Any]:
        return iter([self[i] for i in range(len(self))])

    def __setitem__(self, index: Any, value: Any) -> None:
        self.tracer.create_proxy("call_function", operator.setitem, (self, index, value), {})


class _Shape(tuple[Any, ...]):
    """A shape of numbers and values, which can tell its size as ``torch.Size`` does."""

    def numel(self) -> Any:
        """The product of all sizes."""
        total: Any = 1
        for size in self:
            total = total * size
        return total


class _Tracer(fx.Tracer):
    """Runs the network's code at two batch sizes at once and records what it does to its inputs."""

    proxy_buffer_attributes = True

    def __init__(self, leaves: Iterable[str], inputs: Sequence[tuple[Tensor, Tensor]]) -> None:
        super().__init__()
        self.leaves = set(leaves)
        self.inputs = list(inputs)
        self.failed: str | None = None
        self._running = False

    # ---- what is looked into ------------------------------------------------------------------------------------
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if module_qualified_name in self.leaves or isinstance(m, Opaque | torch.jit.ScriptModule):
            return True
        if is_known_whole(m):
            return True
        home = next(kind for kind in type(m).__mro__ if "forward" in vars(kind))
        return home.__module__.startswith("torch.nn.") and not isinstance(m, _TRANSPARENT)

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        if self._running:
            return forward(*args, **kwargs)
        try:
            return super().call_module(m, forward, args, kwargs)
        except Exception:
            if self.failed is None:  # the innermost module sees the exception first
                self.failed = self.path_of_module(m)
            raise

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        return attr_val if self._running else super().getattr(attr, attr_val, parameter_proxy_cache)

    def create_args_for_root(
        self, root_fn: Any, is_module: bool, concrete_args: Any = None
    ) -> tuple[Callable[..., Any], list[Any]]:
        names = _input_names(root_fn, len(self.inputs))
        return root_fn, [self.root, *[self.create_proxy("placeholder", name, (), {}) for name in names]]

    def create_arg(self, a: Any) -> Any:
        if type(a) is _Value:
            return a.node
        if dataclasses.is_dataclass(a) and not isinstance(a, type):
            return self.create_arg({field.name: getattr(a, field.name) for field in dataclasses.fields(a)})
        if type(a) is _Shape:
            return tuple(self.create_arg(item) for item in a)
        return super().create_arg(a)

    # ---- recording -----------------------------------------------------------------------------------------------
    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        node = super().create_node(*args, **kwargs)
        node.meta["source"] = _source_line()
        return node

    def create_proxy(self, kind: str, target: Any, args: Any, kwargs: Any, *more: Any, **others: Any) -> Any:
        if target is torch.nn.functional.scaled_dot_product_attention:
            return attend(*args, **kwargs)
        if kind == "call_method" and str(target).startswith("new_") and target[4:] in _FACTORIES:
            return _made_anew(target[4:], *args, **kwargs)
        values = _values((args, kwargs))
        _refuse_shapes_by_data(kind, target, args, kwargs)
        node = super().create_proxy(kind, target, args, kwargs, *more, **others).node
        examples = self._run(kind, target, args, kwargs)
        _note_shapes(node, examples)
        constant = kind != "placeholder" and all(v.constant for v in values)
        if not constant:
            _refuse_numbers_from_data(kind, target, values, examples)
        return self._spread(node, examples, constant)

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return fx.Proxy(node, self)

    def _run(self, kind: str, target: Any, args: Any, kwargs: Any) -> tuple[Any, Any]:
        if kind == "placeholder":
            return self.inputs[len([n for n in self.graph.nodes if n.op == "placeholder"]) - 1]
        self._running = True
        try:
            first, second = (self._call(kind, target, *_examples((args, kwargs), i)) for i in (0, 1))
        finally:
            self._running = False
        return first, second

    def _call(self, kind: str, target: Any, args: Any, kwargs: Any) -> Any:
        if kind == "get_attr":
            return operator.attrgetter(target)(self.root)
        if kind == "call_module":
            return self.root.get_submodule(target)(*args, **kwargs)
        if kind == "call_method":
            return getattr(args[0], target)(*args[1:], **kwargs)
        return target(*args, **kwargs)

    def _spread(self, node: fx.Node, examples: tuple[Any, Any], constant: bool) -> Any:
        """What the network's code gets for a node: containers opened, plain numbers as such, values for the rest."""
        first, second = examples
        if isinstance(first, torch.Size):
            return self._shape(node, first, second, constant)
        if isinstance(first, (tuple, list)) and len(first) == len(second):
            items = [self._item(node, i, pair, constant) for i, pair in enumerate(zip(first, second, strict=True))]
            return type(first)(*items) if hasattr(first, "_fields") else type(first)(items)
        if isinstance(first, dict):
            return type(first)((k, self._item(node, k, (first[k], second[k]), constant)) for k in first)
        if isinstance(first, Tensor):
            return _Value(node, self, examples, constant)
        if first is second or first == second:
            return first
        return _Value(node, self, examples, constant)

    def _item(self, node: fx.Node, key: Any, pair: tuple[Any, Any], constant: bool) -> Any:
        part = self.create_node("call_function", operator.getitem, (node, key), {})
        _note_shapes(part, pair)
        return self._spread(part, pair, constant)

    def _shape(self, node: fx.Node, first: Any, second: Any, constant: bool) -> _Shape:
        source = node.args[0]
        return _Shape(
            a if a == b else _Value(self.create_node("call_method", "size", (source, i), {}), self, (a, b), constant)
            for i, (a, b) in enumerate(zip(first, second, strict=True))
        )

    @contextlib.contextmanager
    def recording_factories(self) -> Iterator[None]:
        """``torch.zeros`` and its like become part of the graph while the network's own code runs."""
        originals = {name: getattr(torch, name) for name in _FACTORIES}

        def recorded(original: Callable[..., Any]) -> Callable[..., Any]:
            def factory(*args: Any, **kwargs: Any) -> Any:
                if self._running:
                    return original(*args, **kwargs)
                return self.create_proxy("call_function", original, args, kwargs)

            return factory

        try:
            for name, original in originals.items():
                setattr(torch, name, recorded(original))
            yield
        finally:
            for name, original in originals.items():
                setattr(torch, name, original)


def _made_anew(factory: str, like: _Value, *sizes: Any, **options: Any) -> Any:
    """``x.new_zeros(...)`` takes nothing from ``x`` but its type and device."""
    listed = factory == "full" or (len(sizes) == 1 and isinstance(sizes[0], tuple | list))
    size = sizes[0] if listed else sizes
    options = {"dtype": like.dtype, "device": like.device, **options}
    return getattr(torch, factory)(size, *sizes[1 if listed else len(sizes) :], **options)


def _note_shapes(node: fx.Node, examples: tuple[Any, Any]) -> None:
    if all(isinstance(example, Tensor) for example in examples):
        node.meta["shapes"] = tuple(tuple(example.shape) for example in examples)


def _source_line() -> str:
    """The line of the network's own code that is running, as ``file.py:line``."""
    frame = inspect.currentframe()
    while frame is not None:
        home = frame.f_globals.get("__name__", "")
        if home.partition(".")[0] not in ("torch", "contextlib") and home != __name__:
            return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


def _values(arguments: Any) -> list[_Value]:
    found: list[_Value] = []
    fx.node.map_aggregate(arguments, lambda item: found.append(item) if type(item) is _Value else None)
    return found


def _examples(arguments: Any, which: int) -> Any:
    return fx.node.map_aggregate(arguments, lambda item: item.examples[which] if type(item) is _Value else item)


def _name_of(target: Any) -> str:
    return target if isinstance(target, str) else str(getattr(target, "__name__", target))


def _refuse_shapes_by_data(kind: str, target: Any, args: Any, kwargs: Any) -> None:
    by_mask = target is operator.getitem and any(
        isinstance(v.examples[0], Tensor) and v.examples[0].dtype == torch.bool and not v.constant
        for v in _values(args[1])
    )
    one_sided = target is torch.where and len(args) + len(kwargs) == 1
    if kind in ("call_function", "call_method") and (_name_of(target) in _SHAPED_BY_DATA or by_mask or one_sided):
        raise _Untraceable(f"'{_name_of(target)}' makes a tensor whose shape depends on the data")


def _refuse_numbers_from_data(kind: str, target: Any, values: Sequence[_Value], examples: tuple[Any, Any]) -> None:
    reads = kind in ("call_function", "call_method") and any(isinstance(v.examples[0], Tensor) for v in values)
    number = isinstance(examples[0], (bool, int, float, list)) and not isinstance(examples[0], torch.Size)
    holds_tensor = isinstance(examples[0], list) and any(isinstance(item, Tensor) for item in examples[0])
    if reads and number and not holds_tensor and _name_of(target) not in _ABOUT_SHAPE:
        raise _Untraceable(f"'{_name_of(target)}' turns data into a number")


def _input_names(function: Any, count: int) -> list[str]:
    parameters = list(inspect.signature(function).parameters.values())[1:]
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)][:count]
    return names + [f"input_{i}" for i in range(len(names), count)]


def trace(model: nn.Module, inputs: Sequence[Tensor]) -> fx.GraphModule:
    """Trace ``model`` (left untouched) on example ``inputs`` and return a graph module in eval mode.

    Every node carries ``meta["value"]``, a `legodnn.builder.graph.values.ValueFacts`, and, where the network's code
    is at hand, ``meta["source"]``, the place in it. No operation of the result changes its input in place.
    ``meta["opaque"]`` of the result names the modules that could not be looked into, with the reason, and
    ``meta["any_batch"]`` says whether it takes other batch sizes than the example's. Raises `ModelError` when the top
    level itself cannot be traced or the network does not run on the inputs.
    """
    model = prepared(model, inputs)
    with torch.no_grad():
        module, opaque, any_batch = _at_two_sizes(model, inputs)
        functionalise(module, observe(module, inputs))
        canonicalise(module)
    if any("value" not in node.meta for node in module.graph.nodes):
        observe(module, inputs)
    module.meta["opaque"] = opaque
    module.meta["any_batch"] = any_batch
    return module


def _at_two_sizes(model: nn.Module, inputs: Sequence[Tensor]) -> tuple[fx.GraphModule, dict[str, str], bool]:
    """Trace with the batch as given and with one item more, where the network takes that."""
    larger = [torch.cat([x, x[:1]]) if x.dim() else x for x in inputs]
    failure: ModelError | None = None
    opaque: dict[str, str] = {}
    try:
        module, opaque = _symbolic(model, inputs, larger)
    except ModelError as error:
        failure = error
    if failure is None and not opaque:
        return module, opaque, True
    answer(model, inputs)  # raises where the network does not run at all
    try:
        answer(model, larger)
    except ModelError:  # a network for one batch size is one still
        return *_symbolic(model, inputs, inputs), False
    if failure is not None:
        raise failure
    return module, opaque, True


def _symbolic(
    model: nn.Module, inputs: Sequence[Tensor], twins: Sequence[Tensor]
) -> tuple[fx.GraphModule, dict[str, str]]:
    opaque: dict[str, str] = {}
    fast_path = torch.backends.mha.get_fastpath_enabled()
    while True:
        tracer = _Tracer(opaque, [(a.clone(), b.clone()) for a, b in zip(inputs, twins, strict=True)])
        try:
            torch.backends.mha.set_fastpath_enabled(False)  # what torch fuses into one operation cannot be followed
            # Functions registered with torch.fx.wrap would be recorded whole; this tracer looks into them.
            registered = fx._symbolic_trace._wrapped_fns_to_patch
            with tracer.recording_factories(), mock.patch.dict(registered, clear=True):
                graph = tracer.trace(model)
        except Exception as error:
            if tracer.failed is None or tracer.failed in opaque:
                raise ModelError(
                    f"the network's top level cannot be traced: {one_line(error)}; move that part into a module of "
                    "its own, which is then kept whole"
                ) from error
            opaque[tracer.failed] = one_line(error)
            continue
        finally:
            torch.backends.mha.set_fastpath_enabled(fast_path)
        return fx.GraphModule(model, graph).eval(), opaque
