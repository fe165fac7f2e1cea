"""Frozen dataclasses <-> plain values, every value checked against the type of its field.

Plain values are those of msgpack and JSON: dicts with string keys, lists, strings, numbers, booleans, bytes, None.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any, Dict, List, Type, TypeVar, Union, get_args, get_origin, get_type_hints

from legodnn.shared.errors import BundleError

T = TypeVar("T")


def to_plain(value: Any) -> Any:
    """A dataclass as a dict of plain values; tuples become lists."""
    if dataclasses.is_dataclass(value):
        return {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): to_plain(item) for key, item in value.items()}
    return value


def from_plain(kind: Type[T], plain: Any, path: str = "") -> T:
    """The inverse of `to_plain`. Raises `BundleError` naming the field for anything that does not fit its type."""
    result: T = _read(kind, plain, path)
    return result


def _read(kind: Any, plain: Any, path: str) -> Any:
    if dataclasses.is_dataclass(kind):
        return _read_dataclass(kind, plain, path)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Union:
        present = [a for a in arguments if a is not type(None)]
        return None if plain is None else _read(present[0], plain, path)
    if origin is tuple:
        return _read_tuple(arguments, plain, path)
    if origin is dict:
        if not isinstance(plain, dict) or not all(isinstance(key, str) for key in plain):
            raise _misfit(path, "a table with text keys", plain)
        return {key: _read(arguments[1], item, f"{path}.{key}") for key, item in plain.items()}
    return _read_scalar(kind, plain, path)


def _read_dataclass(kind: Any, plain: Any, path: str) -> Any:
    if not isinstance(plain, dict):
        raise _misfit(path, "a table", plain)
    hints = _types(kind)
    fields = dataclasses.fields(kind)
    missing = [f.name for f in fields if f.name not in plain and not _optional(f)]
    if missing:
        raise BundleError(f"{path or 'manifest'}: '{missing[0]}' is missing")
    # Unknown fields are ignored: newer minor versions may add some, which then have defaults.
    values: Dict[str, Any] = {
        f.name: _read(hints[f.name], plain[f.name], f"{path}.{f.name}" if path else f.name)
        for f in fields
        if f.name in plain
    }
    try:
        return kind(**values)
    except BundleError as error:
        raise BundleError(f"{path or 'manifest'}: {error}") from None


@functools.lru_cache(maxsize=None)
def _types(kind: Any) -> Dict[str, Any]:
    """The types of a dataclass's fields; cached, since finding them takes longer than reading a table."""
    return get_type_hints(kind)


def _optional(field: "dataclasses.Field[Any]") -> bool:
    return field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING


def _read_tuple(arguments: Any, plain: Any, path: str) -> Any:
    if not isinstance(plain, (list, tuple)):
        raise _misfit(path, "a list", plain)
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        kinds: List[Any] = [arguments[0]] * len(plain)
    else:
        kinds = list(arguments)
    if len(kinds) != len(plain):
        raise _misfit(path, f"{len(kinds)} items", plain)
    return tuple(_read(k, item, f"{path}[{i}]") for i, (k, item) in enumerate(zip(kinds, plain)))


def _read_scalar(kind: Any, plain: Any, path: str) -> Any:
    if kind is float and isinstance(plain, (int, float)) and not isinstance(plain, bool):
        if not math.isfinite(plain):
            raise _misfit(path, "a finite number", plain)
        return float(plain)
    if kind is int and isinstance(plain, int) and not isinstance(plain, bool):
        return plain
    if kind in (str, bytes, bool) and isinstance(plain, kind):
        return plain
    raise _misfit(path, {float: "a number", int: "a whole number", str: "text"}.get(kind, kind.__name__), plain)


def _misfit(path: str, wanted: str, plain: Any) -> BundleError:
    return BundleError(f"{path or 'manifest'}: {wanted} expected, not {str(plain)[:40]!r}")
