"""Which source code a function runs: that of its module, and of every module it imports.

Code of the standard library, of installed packages and of LegoDNN is not looked at: it is known by versions. Nothing is
executed; modules are found as an import would find them.
"""

from __future__ import annotations

import ast
import hashlib
import site
import sys
import sysconfig
from collections.abc import Iterator
from functools import lru_cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import FunctionType
from typing import Any


def sources(module: str) -> dict[str, str]:
    """A digest for a module and for every module it imports, directly or not, by their names.

    Of Python's source it is that of the syntax tree, so that comments and spaces do not count; of other files that of
    their bytes. Modules that are not found are left out.
    """
    found: dict[str, str] = {}
    open_names = [module]
    while open_names:
        name = open_names.pop()
        if name in found or name.partition(".")[0] == "legodnn":
            continue
        path = _file(name)
        if path is None or is_installed(path):
            continue
        found[name], imported = _read(name, path)
        open_names.extend(imported)
    return dict(sorted(found.items()))


def sources_of(thing: Any) -> dict[str, str]:
    """The `sources` of a function or a class; of one whose module has no file, as in a notebook, its code's digest."""
    module = thing.__module__ or ""  # none for what was made by `exec`
    if module.partition(".")[0] in {"legodnn", *sys.stdlib_module_names}:
        return {}
    found = sources(module) if module else {}
    if found or (module and _file(module) is not None):
        return found
    code = thing.__code__ if isinstance(thing, FunctionType) else None
    text = repr((code.co_code, code.co_consts, code.co_names)) if code else thing.__qualname__
    return {thing.__qualname__: hashlib.sha256(text.encode()).hexdigest()[:16]}


def _read(name: str, path: Path) -> tuple[str, set[str]]:
    """The digest of a file, and the modules it imports."""
    data = path.read_bytes()
    if path.suffix == ".py":
        try:
            tree = ast.parse(data, type_comments=True)
        except (SyntaxError, ValueError):
            return hashlib.sha256(data).hexdigest()[:16], set()
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        return hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:16], set(_imports(tree, package))
    return hashlib.sha256(data).hexdigest()[:16], set()


def _imports(tree: ast.AST, package: str) -> Iterator[str]:
    """The names of modules that may be imported in a tree; of ``from a import b`` both ``a`` and ``a.b``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _with_parents(alias.name)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from _with_parents(base)
            for alias in node.names:
                yield f"{base}.{alias.name}"
        elif isinstance(node, ast.Call) and node.args and _imports_by_name(node.func):
            name = node.args[0]
            if isinstance(name, ast.Constant) and isinstance(name.value, str):
                yield from _with_parents(name.value)


def _imports_by_name(function: ast.expr) -> bool:
    """Whether a call is one of ``__import__`` or ``import_module``."""
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name in ("__import__", "import_module")


def _with_parents(name: str) -> Iterator[str]:
    parts = name.split(".")
    yield from (".".join(parts[:count]) for count in range(1, len(parts) + 1))


def _file(name: str) -> Path | None:
    """The file of a module; None for one that is not found, or has none."""
    if name == "__main__":
        path = getattr(sys.modules["__main__"], "__file__", None)
        return Path(path) if path else None
    spec: ModuleSpec | None = None
    path_of_parent: Any = None
    for count in range(1, len(name.split(".")) + 1):
        try:
            spec = PathFinder.find_spec(".".join(name.split(".")[:count]), path_of_parent)
        except (ImportError, ValueError, AttributeError):
            return None
        if spec is None:
            return None
        path_of_parent = spec.submodule_search_locations
        if path_of_parent is None and count < len(name.split(".")):
            return None
    return Path(spec.origin) if spec is not None and spec.origin and spec.has_location else None


@lru_cache(maxsize=1)
def _library_folders() -> tuple[Path, ...]:
    paths = sysconfig.get_paths()
    names = [paths[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")]
    return tuple(Path(name).resolve() for name in {*names, *site.getsitepackages(), site.getusersitepackages()})


def is_installed(path: Path) -> bool:
    """Whether a file is of the standard library or of an installed package."""
    resolved = path.resolve()
    return any(resolved.is_relative_to(folder) for folder in _library_folders())
