"""Proxies that a network's code computes with while it is traced, and what they refuse to become: numbers."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.proxy import Attribute

from legodnn.builder.graph.tracing.refusals import WRAP
from legodnn.builder.graph.tracing.twins import ABOUT_THE_DEVICE
from legodnn.builder.graph.values import source_line

_ABOUT_SHAPE = frozenset(
    "size dim ndimension numel nelement stride element_size storage_offset get_device type len getattr is_contiguous "
    "is_floating_point is_complex is_tensor has_names".split()
)
"""Operations that return a number that does not depend on a tensor's data."""

_SHAPED_BY_DATA = frozenset("nonzero argwhere masked_select unique unique_consecutive nms batched_nms".split())


class Untraceable(Exception):
    """Code that cannot be traced: why, and what the user can do about it."""

    def __init__(self, why: str, remedy: str = "move that part into a module of its own, which is then kept whole"):
        super().__init__(why)
        self.remedy = remedy


class Value(fx.Proxy):
    """A proxy with its values at two batch sizes, ``examples``; ``constant`` where it depends on no input."""

    def __init__(self, node: fx.Node, tracer: fx.Tracer, examples: tuple[Any, Any], constant: bool) -> None:
        super().__init__(node, tracer)
        self.examples = examples
        self.constant = constant

    def __getattr__(self, name: str) -> Any:
        first, second = (getattr(example, name) for example in self.examples)
        if name in ABOUT_THE_DEVICE:
            return first
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
            raise Untraceable(f"{what} depends on the data of '{self.node.name}' ({source_line(self.node)})")
        raise Untraceable(f"{what} depends on the batch size ('{self.node.name}', {source_line(self.node)})")

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
            why = f"the length of '{self.node.name}' is the batch size"
            raise Untraceable(why, WRAP) if self.node.op == "placeholder" else Untraceable(why)
        return first

    def __iter__(self) -> Iterator[Any]:
        return iter([self[i] for i in range(len(self))])

    def __getitem__(self, index: Any) -> Any:
        return self.tracer.create_proxy("call_function", operator.getitem, (self, index), {})

    def __setitem__(self, index: Any, value: Any) -> None:
        self.tracer.create_proxy("call_function", operator.setitem, (self, index, value), {})


class Shape(tuple[Any, ...]):
    """A shape of numbers and proxies, with ``numel`` as ``torch.Size`` has it."""

    def numel(self) -> Any:
        """The product of all sizes."""
        total: Any = 1
        for size in self:
            total = total * size
        return total


def values_in(arguments: Any) -> list[Value]:
    """The `Value` proxies among the arguments of a call, those in containers included."""
    return [item for item in _leaves(arguments) if type(item) is Value]


def examples_of(arguments: Any, which: int) -> Any:
    """The arguments with every `Value` replaced by its example at one batch size, 0 or 1."""

    def example(item: Any) -> Any:
        return item.examples[which] if type(item) is Value else item

    return fx.node.map_aggregate(arguments, example)


def refuse_shapes_by_data(kind: str, target: Any, args: Any, kwargs: Any) -> None:
    """Raises `Untraceable` for a call whose result has a shape that depends on the data."""
    by_mask = target is operator.getitem and any(
        isinstance(v.examples[0], Tensor) and v.examples[0].dtype == torch.bool and not v.constant
        for v in values_in(args[1])
    )
    one_sided = target is torch.where and len(args) + len(kwargs) == 1
    if kind in ("call_function", "call_method") and (_name_of(target) in _SHAPED_BY_DATA or by_mask or one_sided):
        raise Untraceable(f"'{_name_of(target)}' makes a tensor whose shape depends on the data")


def refuse_numbers_from_data(kind: str, target: Any, values: Sequence[Value], examples: tuple[Any, Any]) -> None:
    """Raises `Untraceable` for a call that turns a tensor's elements into plain numbers."""
    if not any(isinstance(v.examples[0], Tensor) for v in values) or isinstance(examples[0], torch.Size):
        return
    if kind == "call_module":
        found = _leaves(examples[0])
    elif kind == "placeholder" or _name_of(target) in _ABOUT_SHAPE:
        return
    else:
        found = _leaves(examples[0]) if isinstance(examples[0], list) else [examples[0]]
    if any(isinstance(item, (bool, int, float)) for item in found):
        raise Untraceable(f"'{_name_of(target)}' turns data into a number")


def _leaves(value: Any) -> list[Any]:
    found: list[Any] = []
    fx.node.map_aggregate(value, found.append)
    return found


def _name_of(target: Any) -> str:
    return target if isinstance(target, str) else str(getattr(target, "__name__", target))
