"""Tracing: a network becomes an fx graph that can be cut at any value.

The tracer holds every value at two batch sizes. A number that is equal in both (a channel count, an image's height) is
a plain number to the network's own code, so conditions and loops over shapes run as written; one that differs depends
on the batch size and is symbolic. Code that depends on the data cannot be traced: the innermost module around it
becomes a leaf, and the rest of the network is traced.
"""

from __future__ import annotations

import dataclasses
import inspect
import operator
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn as nn
from torch import Tensor, fx

from legodnn.builder.graph.channels.rules import is_known_whole
from legodnn.builder.graph.shapes import note_metadata, to_meta
from legodnn.builder.graph.tracing.attention import attend
from legodnn.builder.graph.tracing.canonical import canonicalise
from legodnn.builder.graph.tracing.copies import refuse_uncopied
from legodnn.builder.graph.tracing.functional import functionalise
from legodnn.builder.graph.tracing.mutations import Mutation, Watch
from legodnn.builder.graph.tracing.opaque import Calls, Opaque, keep_whole
from legodnn.builder.graph.tracing.prepare import prepared
from legodnn.builder.graph.tracing.proxies import (
    Shape,
    Untraceable,
    Value,
    examples_of,
    refuse_numbers_from_data,
    refuse_shapes_by_data,
    values_in,
)
from legodnn.builder.graph.tracing.refusals import answer
from legodnn.builder.graph.tracing.stand_ins import FACTORIES, made_anew, standing_in
from legodnn.builder.graph.tracing.state import restored
from legodnn.builder.graph.tracing.twins import ABOUT_THE_DEVICE, Call, twin_of, with_values
from legodnn.builder.graph.values import DATA_DEPENDENT, ValueMetadata, metadata, metadata_of, tensors_in
from legodnn.shared.errors import ModelError, is_shortage, one_line

_TRANSPARENT = (
    nn.Sequential, nn.Transformer, nn.TransformerEncoder, nn.TransformerEncoderLayer, nn.TransformerDecoder,
    nn.TransformerDecoderLayer, nn.SyncBatchNorm,
)  # fmt: skip
"""Modules of torch that are traced into, since they are made of other modules or functions."""

_HARMLESS = frozenset("extra_repr reset_parameters train dump_patches".split())
"""Attributes that a subclass of a layer of torch may override without changing what the layer computes."""


_OURS = __name__.rpartition(".")[0]


class _Tracer(fx.Tracer):
    """Runs the network's code at two batch sizes at once and records the operations on its inputs."""

    proxy_buffer_attributes = True

    def __init__(self, leaves: Iterable[str], inputs: Sequence[tuple[Tensor, Tensor]]) -> None:
        super().__init__()
        self.leaves = set(leaves)
        self.inputs = list(inputs)
        self.calls: dict[str, tuple[Call, Call]] = {}
        self.watch = Watch()
        self.failed: str | None = None
        self.running = False

    # ---- leaves -----------------------------------------------------------------------------------------------
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if module_qualified_name in self.leaves or isinstance(m, Opaque | torch.jit.ScriptModule):
            return True
        return is_known_whole(m) or _is_of_torch(m)

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        if self.running or m not in (self.submodule_paths or {}):  # a module created in a forward is no leaf
            return forward(*args, **kwargs)
        # In torch 2.1 a module that calls itself is on the stack once and taken off twice: each call gets its own.
        stack, self.module_stack = self.module_stack, OrderedDict()
        try:
            return super().call_module(m, forward, args, kwargs)
        except Exception:
            # The innermost module sees the exception first; one that is a leaf already fails for another reason.
            if self.failed is None and self.path_of_module(m) not in self.leaves:
                self.failed = self.path_of_module(m)
            raise
        finally:
            self.module_stack = stack

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        if self.running or type(attr_val) is Value:  # an attribute the network set while it was traced
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)

    def create_args_for_root(
        self, root_fn: Any, is_module: bool, concrete_args: Any = None
    ) -> tuple[Callable[..., Any], list[Any]]:
        names = _input_names(root_fn, len(self.inputs))
        return root_fn, [self.root, *[self.create_proxy("placeholder", name, (), {}) for name in names]]

    def create_arg(self, a: Any) -> Any:
        if type(a) is Value:
            return a.node
        if dataclasses.is_dataclass(a) and not isinstance(a, type):
            return self.create_arg({field.name: getattr(a, field.name) for field in dataclasses.fields(a)})
        if isinstance(a, tuple) and hasattr(a, "_fields"):
            return type(a)(*[self.create_arg(item) for item in a])
        if isinstance(a, np.generic):
            return a.item()
        if type(a) is Shape:
            return tuple(self.create_arg(item) for item in a)
        if isinstance(a, nn.Parameter) and not any(a is known for known in self.root.parameters()):
            a = a.detach()  # of a module that is not registered
        try:
            return super().create_arg(a)
        except NotImplementedError as error:
            why = f"it passes on something of kind '{type(a).__name__}'"
            raise Untraceable(why, "use tensors, alone or in tuples, lists, dictionaries or dataclasses") from error

    # ---- recording -----------------------------------------------------------------------------------------------
    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        node = super().create_node(*args, **kwargs)
        node.meta["source"] = _source_line()
        node.meta["module"] = self.scope.module_path
        if node.op == "get_attr":  # a tensor that a call takes and no proxy stands for
            tensor = self._attribute(str(node.target))
            self._note(node, (tensor, tensor))
        elif node.op == "output":
            node.meta["value"] = _joint_metadata(node)
        return node

    def _note(self, node: fx.Node, examples: tuple[Any, Any]) -> None:
        node.meta["value"] = metadata_of(examples[0])
        if all(isinstance(example, Tensor) for example in examples):
            node.meta["shapes"] = tuple(tuple(example.shape) for example in examples)
        self.watch.note(node, examples[0])

    def create_proxy(self, kind: str, target: Any, args: Any, kwargs: Any, *more: Any, **others: Any) -> Any:
        if target is torch.nn.functional.scaled_dot_product_attention:
            return attend(*args, **kwargs)
        if kind == "call_method" and str(target).startswith("new_") and target[4:] in FACTORIES:
            return made_anew(target[4:], *args, **kwargs)
        values = values_in((args, kwargs))
        refuse_shapes_by_data(kind, target, args, kwargs)
        node = super().create_proxy(kind, target, args, kwargs, *more, **others).node
        before = self.watch.versions(node)
        examples = self._run(kind, target, args, kwargs)
        self.watch.compare(node, before, examples[0])
        self._note(node, examples)
        constant = kind != "placeholder" and all(v.constant for v in values)
        if not constant:
            refuse_numbers_from_data(kind, target, values, examples)
        return self._spread(node, examples, constant)

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return fx.Proxy(node, self)

    def _run(self, kind: str, target: Any, args: Any, kwargs: Any) -> tuple[Any, Any]:
        if kind == "placeholder":
            return self.inputs[len([n for n in self.graph.nodes if n.op == "placeholder"]) - 1]
        first, second = examples_of((args, kwargs), 0), examples_of((args, kwargs), 1)
        if kind == "get_attr":
            found = self._attribute(str(target))
            found = found if isinstance(found, nn.Parameter) else found.clone()  # networks count in their buffers
            return found, to_meta(found)
        function: Any = target
        if kind == "call_module":
            self._note_call(str(target), first, second)
            function = self.root.get_submodule(target)
        elif kind == "call_method":
            function = _method(str(target))
        self.running = True
        try:
            found = function(*first[0], **first[1])
            same = target in ABOUT_THE_DEVICE and not tensors_in(found)
            return found, found if same else twin_of(function, first, second)
        finally:
            self.running = False

    def _attribute(self, name: str) -> Any:
        """The network's attribute of this name, without recording that it is read."""
        before, self.running = self.running, True
        try:
            return operator.attrgetter(name)(self.root)
        finally:
            self.running = before

    def _note_call(self, name: str, first: Call, second: Call) -> None:
        """Keep the arguments of the first call of a leaf: `keep_whole` exports it on them."""
        whole = name in self.leaves or isinstance(self.root.get_submodule(name), Opaque)
        if whole and name not in self.calls:
            self.calls[name] = first, with_values(first, second)

    def _spread(self, node: fx.Node, examples: tuple[Any, Any], constant: bool) -> Any:
        """The value that the network's code gets for a node: containers of items, plain numbers, and proxies for the
        rest."""
        first, second = examples
        if isinstance(first, torch.Size):
            return self._shape(node, first, second, constant)
        if isinstance(first, (tuple, list)) and len(first) == len(second):
            items = [self._item(node, i, pair, constant) for i, pair in enumerate(zip(first, second, strict=True))]
            return type(first)(*items) if hasattr(first, "_fields") else type(first)(items)
        if isinstance(first, dict):
            return type(first)((k, self._item(node, k, (first[k], second[k]), constant)) for k in first)
        if isinstance(first, Tensor):
            return Value(node, self, examples, constant)
        if first is second or first == second:
            return first
        return Value(node, self, examples, constant)

    def _item(self, node: fx.Node, key: Any, pair: tuple[Any, Any], constant: bool) -> Any:
        part = self.create_node("call_function", operator.getitem, (node, key), {})
        self._note(part, pair)
        return self._spread(part, pair, constant)

    def _shape(self, node: fx.Node, first: Any, second: Any, constant: bool) -> Shape:
        source = node.args[0]
        return Shape(
            a if a == b else self._size(source, i, (a, b), constant)
            for i, (a, b) in enumerate(zip(first, second, strict=True))
        )

    def _size(self, source: Any, axis: int, pair: tuple[int, int], constant: bool) -> Value:
        node = self.create_node("call_method", "size", (source, axis), {})
        self._note(node, pair)
        return Value(node, self, pair, constant)


def _method(name: str) -> Callable[..., Any]:
    return lambda owner, *args, **kwargs: getattr(owner, name)(*args, **kwargs)


def _is_of_torch(m: nn.Module) -> bool:
    """Whether a module computes what a class of torch.nn does: its own class overrides nothing but `_HARMLESS`."""
    own = list(takewhile(lambda kind: not kind.__module__.startswith("torch.nn."), type(m).__mro__))
    base = type(m).__mro__[len(own)]
    if base is nn.Module or issubclass(base, _TRANSPARENT) or "forward" in vars(m):
        return False
    mine = {name: value for kind in own for name, value in vars(kind).items() if not name.startswith("__")}
    changed = {name for name, value in mine.items() if isinstance(value, property) or hasattr(base, name)}
    return changed <= _HARMLESS


def _joint_metadata(node: fx.Node) -> ValueMetadata:
    """The metadata of all that ``node`` reads, as of one value."""
    if isinstance(node.args[0], fx.Node):
        return metadata(node.args[0])
    return ValueMetadata(False, any(metadata(source).holds_tensors for source in node.all_input_nodes))


def _source_line() -> str:
    """The line of the network's own code that is running, as ``file.py:line``; empty where there is none."""
    frame = inspect.currentframe()
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.partition(".")[0] not in ("torch", "contextlib") and not module.startswith(_OURS):
            return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


def _input_names(function: Any, count: int) -> list[str]:
    parameters = list(inspect.signature(function).parameters.values())[1:]
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)][:count]
    return names + [f"input_{i}" for i in range(len(names), count)]


def trace(model: nn.Module, inputs: Sequence[Tensor], whole: Sequence[str] = ()) -> fx.GraphModule:
    """Trace ``model`` (left untouched) on example ``inputs`` and return a graph module in eval mode.

    Modules called ``whole`` become leaves.

    Every node carries ``meta["value"]``, a `legodnn.builder.graph.values.ValueMetadata`, and, where the network's code
    is at hand, ``meta["source"]``, the line of it; ``meta["data_dependent"]`` marks data-dependent selections. No
    operation of the result changes its input in place. ``meta["opaque"]`` of the result names the modules that could
    not be traced, with the reason, ``meta["any_batch"]`` says whether it takes other batch sizes than the example's,
    and ``meta["tied"]`` names the weights that were one with another, and that other. Raises `ModelError` when the top
    level itself cannot be traced or the network does not run on the inputs.
    """
    model, tied = prepared(model, inputs)
    with torch.no_grad():
        module, (opaque, calls, mutations), any_batch = _at_two_sizes(model, inputs, whole)
        refuse_uncopied(module)
        _mark_data_dependent(module)
        keep_whole(module, opaque, calls)
        functionalise(module, mutations)
        tied.update(canonicalise(module))
    if any("value" not in node.meta for node in module.graph.nodes):
        note_metadata(module, inputs)
    module.meta["opaque"] = opaque
    module.meta["any_batch"] = any_batch
    module.meta["tied"] = tied
    return module


def _mark_data_dependent(module: fx.GraphModule) -> None:
    for node in module.graph.nodes:
        layer = module.get_submodule(str(node.target)) if node.op == "call_module" else None
        if isinstance(layer, Opaque) and layer.decides:
            node.meta[DATA_DEPENDENT] = True


Found = tuple[dict[str, str], Calls, list[Mutation]]
"""The results of tracing beside the graph: modules kept whole and why, their arguments, and in-place operations."""


def _at_two_sizes(
    model: nn.Module, inputs: Sequence[Tensor], whole: Sequence[str]
) -> tuple[fx.GraphModule, Found, bool]:
    """Trace with the batch as given and with one item more, where the network takes that."""
    larger = [torch.cat([x, x[:1]]) if x.dim() else x for x in inputs]
    failure: ModelError | None = None
    try:
        module, found = _symbolic(model, inputs, larger, whole)
        if set(found[0]) == set(whole):  # no module was added to the leaves
            return module, found, True
    except ModelError as error:
        failure = error
    answer(model, inputs)  # raises `ModelError` where the network does not run at all
    try:
        answer(model, larger)
    except ModelError:  # a network of a fixed batch size is traced at that one
        return *_symbolic(model, inputs, inputs, whole), False
    if failure is not None:
        raise failure
    return module, found, True


def _symbolic(
    model: nn.Module, inputs: Sequence[Tensor], twins: Sequence[Tensor], whole: Sequence[str]
) -> tuple[fx.GraphModule, Found]:
    opaque = dict.fromkeys(whole, "to be kept whole")
    while True:
        tracer = _Tracer(opaque, [(a.clone(), to_meta(b)) for a, b in zip(inputs, twins, strict=True)])
        try:
            with restored(model), standing_in(tracer):
                graph = tracer.trace(model)
        except Exception as error:
            if is_shortage(error):  # of no module's code: none is kept whole for it
                raise
            if tracer.failed is None or tracer.failed in opaque:
                remedy = getattr(error, "remedy", Untraceable("").remedy)
                raise ModelError(f"the network's top level cannot be traced: {one_line(error)}; {remedy}") from error
            opaque[tracer.failed] = one_line(error)
            continue
        for value, name in tracer.tensor_attrs.items():
            if not hasattr(model, name):  # a constant created while tracing
                setattr(model, name, value)
        return fx.GraphModule(model, graph).eval(), (opaque, tracer.calls, tracer.watch.mutations)
