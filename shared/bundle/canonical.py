"""Canonical names in programs, which do not depend on where and when they were made.

TorchScript names every class and function after the module of its source, and distinguishes classes of one name by a
counter of the process. Here everything but torch's own moves to one module, ``__torch__.program``, and counters are
renumbered, so that equal networks give equal bytes wherever their source is.
"""

from __future__ import annotations

import re
from typing import Dict, Iterator, Mapping

_MODULE = "program"
"""The module of all classes and functions but torch's: ``__torch__.program.Peaks``."""

_ROOT = "__torch__"
_OF_TORCH = "__torch__.torch"
_CODE, _SOURCE = "code/", ".py"
_MANGLED = re.compile(rb"___torch_mangle_(\d+)")
_DEFINITION = re.compile(rb"^(?=(?:class|def) )", re.MULTILINE)
_DEFINED = re.compile(rb"(?:class|def) (\w+)")
_NAME = re.compile(rb"__torch__(?:\.\w+)+")
_PICKLED_NAME = re.compile(rb"c(__torch__(?:\.\w+)*)\n(\w+)\n")


def canonical(program: Mapping[str, bytes]) -> Dict[str, bytes]:
    """A program's files by path, with names that depend on nothing but the program."""
    return _renumbered(_in_one_module(program))


# ---- modules --------------------------------------------------------------------------------------------------------
def _in_one_module(program: Mapping[str, bytes]) -> Dict[str, bytes]:
    """Move every definition that is not torch's to `_MODULE`, in the order of their names; a second definition of a
    name
    moves to a module with a number."""
    files = dict(program)
    renamed: Dict[bytes, bytes] = {}
    gathered: Dict[str, Dict[bytes, bytes]] = {}
    for path in sorted(program):
        module = path[len(_CODE) : -len(_SOURCE)].replace("/", ".")
        if path.startswith(_CODE + _ROOT) and not f"{module}.".startswith(f"{_OF_TORCH}."):
            for text in filter(None, _DEFINITION.split(files.pop(path))):
                name = _name_of(text)
                target = _free_module(module, name, gathered)
                gathered.setdefault(target, {})[name] = text
                renamed[f"{module}.".encode() + name] = f"{target}.".encode() + name
    for target, parts in gathered.items():
        files[f"{_CODE}{target.replace('.', '/')}{_SOURCE}"] = b"".join(parts[name] for name in sorted(parts))
    return {path: _with_names(content, renamed) for path, content in files.items()}


def _name_of(definition: bytes) -> bytes:
    found = _DEFINED.match(definition)
    return found.group(1) if found else b""


def _free_module(module: str, name: bytes, gathered: Mapping[str, Mapping[bytes, bytes]]) -> str:
    last = module.rpartition(".")[2]
    mangle = f".{last}" if _MANGLED.fullmatch(last.encode()) else ""
    number = 1
    while True:
        target = f"{_ROOT}.{_MODULE}{number if number > 1 else ''}{mangle}"
        if name not in gathered.get(target, {}):
            return target
        number += 1


def _with_names(content: bytes, renamed: Mapping[bytes, bytes]) -> bytes:
    def in_source(match: "re.Match[bytes]") -> bytes:
        return renamed.get(match.group(), match.group())

    def in_pickle(match: "re.Match[bytes]") -> bytes:
        name = b".".join(match.groups())
        module, _, last = renamed.get(name, name).rpartition(b".")
        return b"c" + module + b"\n" + last + b"\n"

    # In pickles names are newline-terminated, so their length may change.
    return _PICKLED_NAME.sub(in_pickle, _NAME.sub(in_source, content))


# ---- counters -------------------------------------------------------------------------------------------------------
def _renumbered(program: Mapping[str, bytes]) -> Dict[str, bytes]:
    """Number mangled type names by first appearance, the data record first: it starts with the root's type."""
    numbers: Dict[bytes, bytes] = {}

    def numbered(match: "re.Match[bytes]") -> bytes:
        number = numbers.setdefault(match.group(1), str(len(numbers)).encode())
        return b"___torch_mangle_" + number

    renamed: Dict[str, bytes] = {}
    for path in _by_first_appearance(program):
        name = _MANGLED.sub(numbered, path.encode()).decode()
        renamed[name] = _MANGLED.sub(numbered, program[path])
    return {path: renamed[path] for path in sorted(renamed)}


def _by_first_appearance(program: Mapping[str, bytes]) -> Iterator[str]:
    """``data.pkl``, then code files in the order in which their types are first named, then the rest."""
    waiting = sorted(program, key=lambda path: (path != "data.pkl", path))
    seen: Dict[str, None] = {}
    queue = waiting[:1]
    while queue:
        path = queue.pop(0)
        if path in seen:
            continue
        seen[path] = None
        for match in _NAME.finditer(program[path]):
            parts = match.group().decode().split(".")
            for end in range(len(parts), 0, -1):
                target = f"{_CODE}{'/'.join(parts[:end])}{_SOURCE}"
                if target in program:
                    queue.append(target)
                    break
    yield from seen
    # Files that nothing names come last, ordered by their names without counters.
    yield from sorted((p for p in waiting if p not in seen), key=lambda p: _MANGLED.sub(b"", p.encode()))
