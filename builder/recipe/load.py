"""Reading recipes, the TOML files of `legodnn-build`.

The keys are those of `legodnn.builder.recipe.schema`; all are checked, and every mistake is reported at once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from importlib import resources
from pathlib import Path
from typing import Any

from legodnn.builder.recipe.schema import (
    DATA_FILES,
    DEFAULT_MANAGER,
    FUNCTION,
    IMPORTANCE,
    SECTIONS,
    Call,
    ModelSection,
    Recipe,
)
from legodnn.shared.bundle.format import MAGIC
from legodnn.shared.errors import RecipeError
from legodnn.shared.naming import closest, hint
from legodnn.shared.vision.layouts import LAYOUTS
from legodnn.shared.vision.layouts import channels as channels_of

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def builtin_recipes() -> dict[str, Path]:
    """The recipes that come along, by name."""
    folder = Path(str(resources.files("legodnn.builder.zoo")))
    return {path.stem: path for path in sorted(folder.glob("*/*.toml"), key=lambda path: path.stem)}


def load_recipe(name: str, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe from a file, or a built-in one by name, with ``section.key=value`` overrides applied.

    Raises `RecipeError` with all mistakes, each naming its key; `OSError` where the file cannot be read.
    """
    path, folder = Path(name), Path(name).parent
    if not path.is_file() and name in builtin_recipes():
        # A built-in has no folder: names and files given to it are looked up in the working directory.
        path, folder = builtin_recipes()[name], Path()
    if not path.exists():
        meant = hint(name, builtin_recipes()) or "; --list shows them"
        raise RecipeError([f"{name}: no such recipe file, and no built-in of that name{meant}"])
    table = _table(path)
    mistakes: list[str] = []
    for override in overrides:
        _override(table, override, mistakes)
    recipe = _Reader(path.stem, folder.resolve(), table, mistakes).read()
    if recipe is None or mistakes:
        raise RecipeError([f"{name}: {mistake}" for mistake in mistakes])
    return recipe


def require_buildable(recipe: Recipe) -> None:
    """Raise `RecipeError` with everything that a plan does not need and a build does, where it is not named."""
    data = recipe.data
    missing = [
        f'data.{key}: missing; write {key} = "package.module:function", a function that returns a loader, '
        "or the path of a data set"
        for key, call in {"train": data.train, "test": data.train if data.divided else data.test}.items()
        if call is None
    ]
    if recipe.model.inputs > 1 and recipe.manager.factory == DEFAULT_MANAGER:
        missing.append(f"manager: missing; {DEFAULT_MANAGER} runs networks of one input, not {recipe.model.inputs}")
    if missing:
        raise RecipeError(missing)


def _table(path: Path) -> dict[str, Any]:
    """The file's table. Raises `RecipeError` with what the file is instead, or where it breaks TOML's rules."""
    data = path.read_bytes()
    if data.startswith(MAGIC):
        raise RecipeError([f"{path}: a bundle, not a recipe; legodnn-run runs it"])
    try:
        table: dict[str, Any] = tomllib.loads(data.decode("utf-8-sig"))  # with the mark that editors put first, too
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise RecipeError([f"{path}: line {line}: not text in UTF-8; save it as that"]) from error
    except tomllib.TOMLDecodeError as error:
        raise RecipeError([f"{path}: not valid TOML: {error}"]) from error
    return table


_OF_A_CALL = ("factory", "args", "kwargs", "version")
"""The keys of a call's table."""

_PATHS = (["model", "weights"], ["data", "train"], ["data", "test"], ["data", "validation"])
"""Keys whose values may be paths."""


def _override(table: dict[str, Any], override: str, mistakes: list[str]) -> None:
    key, equals, text = override.partition("=")
    names = key.strip().split(".")
    if not equals or (len(names) < 2 and names != ["manager"]) or not all(names):
        mistakes.append(f"--set {override}: write it as section.key=value")
        return
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text  # a bare word is a string, without quotes inside the shell's
    path = isinstance(value, str) and value and (names == ["model", "weights"] or not FUNCTION.fullmatch(value))
    if path and names in _PATHS:
        value = str(Path(value).expanduser().resolve())  # relative to the working directory, not to the recipe's folder
    for name in names[:-1]:
        inner = table.setdefault(name, {})
        if isinstance(inner, str) and names[0] in ("data", "manager", "teacher"):
            inner = table[name] = {"factory": inner}  # the short form of a call becomes the long one, to take arguments
        if not isinstance(inner, dict):
            mistakes.append(f"--set {override}: '{name}' is no section")
            return
        table = inner
    table[names[-1]] = value


class _Reader:
    """Turns a table into a recipe and collects what is wrong with it."""

    def __init__(self, name: str, folder: Path, table: Mapping[str, Any], mistakes: list[str]) -> None:
        self.name = name
        self.folder = folder
        self.table = table
        self.mistakes = mistakes

    def read(self) -> Recipe | None:
        """The recipe, or None where a section could not be made (the mistakes say why)."""
        for key in self.table:
            if key not in (*SECTIONS, "manager"):
                self._unknown(key, (*SECTIONS, "manager"))
        made: dict[str, Any] = {name: self._section(name, kind) for name, kind in SECTIONS.items()}
        if "manager" in self.table:
            made["manager"] = self._call("manager", self.table["manager"])
        if self.mistakes:
            return None
        recipe = Recipe(name=self.name, folder=self.folder, **made)
        self._together(recipe)
        return recipe

    def _together(self, recipe: Recipe) -> None:
        """Collect the mistakes that involve several keys."""
        if not any(recipe.blocks.sparsity):
            self.mistakes.append("blocks.sparsity: only 0, the original; add sparsities above it, as in [0, 0.2, 0.4]")
        shape = recipe.model.input
        layout = recipe.layout
        if recipe.bundle.layout is not None and len(shape) != LAYOUTS[layout]:
            self.mistakes.append(f"bundle.layout: {layout} has {LAYOUTS[layout]} dimensions, model.input {len(shape)}")
        channels = channels_of(layout, shape)
        for key, values in (("mean", recipe.bundle.mean), ("std", recipe.bundle.std)):
            if values and len(values) != channels:
                self.mistakes.append(f"bundle.{key}: {len(values)} numbers, but model.input has {channels} channels")
        if bool(recipe.bundle.mean) != bool(recipe.bundle.std):
            self.mistakes.append("bundle.mean, bundle.std: give both or neither")

    def _section(self, name: str, kind: Any) -> Any:
        table = self.table.get(name, {})
        if not isinstance(table, Mapping):
            self.mistakes.append(f"{name}: a section expected, like [{name}]")
            return None
        known = [f.name for f in fields(kind)] + (["args", "kwargs"] if name == "model" else [])
        for key in table:
            if key not in known:
                self._unknown(f"{name}.{key}", [f"{name}.{k}" for k in known])
        values = {}
        for f in fields(kind):
            key = f"{name}.{f.name}"
            if f.name in table:
                values[f.name] = _CHECKS[key](self, key, table[f.name])
        if name == "model":
            return self._model(table, values)
        return kind(**{k: v for k, v in values.items() if v is not None})

    def _model(self, table: Mapping[str, Any], values: dict[str, Any]) -> ModelSection | None:
        for key, example in (("factory", '"torchvision:resnet18"'), ("input", "[1, 3, 224, 224]")):
            if key not in table:
                self.mistakes.append(f"model.{key}: missing; write {key} = {example}")
        args, kwargs = table.get("args", []), table.get("kwargs", {})
        if not isinstance(args, list):
            self.mistakes.append(f"model.args: a list expected, not {args!r}")
        if not isinstance(kwargs, Mapping):
            self.mistakes.append(f"model.kwargs: a table expected, like {{ num_classes = 10 }}, not {kwargs!r}")
        if self.mistakes:
            return None
        call = values["factory"]
        given = {key: value for key, value in values.items() if key != "factory"}
        whole = replace(call, args=tuple(args), kwargs=dict(kwargs), version=given.get("version") or "")
        return ModelSection(whole, **given)

    def _unknown(self, key: str, known: Sequence[str]) -> None:
        # Only the last part is compared: all keys of a section have the first in common.
        whole = {name.rpartition(".")[2]: name for name in known}
        meant = closest(key.rpartition(".")[2], whole)
        help_with_it = f"did you mean '{whole[meant]}'?" if meant else f"known are {', '.join(known)}"
        self.mistakes.append(f"{key}: unknown key; {help_with_it}")

    # ---- values -----------------------------------------------------------------------------------------------------
    def _factory(self, key: str, value: Any) -> Call | None:
        """``"package.module:function"`` alone: its arguments have keys of their own."""
        if isinstance(value, str):
            return self._call(key, value)
        self.mistakes.append(f'{key}: "package.module:function" expected, not {value!r}')
        return None

    def _call(self, key: str, value: Any) -> Call | None:
        """``"package.module:function"``, or a table of factory, args and kwargs."""
        table = {"factory": value} if isinstance(value, str) else value
        if not isinstance(table, Mapping) or not isinstance(table.get("factory"), str):
            self.mistakes.append(f'{key}: "package.module:function" expected, not {value!r}')
            return None
        for name in table:
            if name not in _OF_A_CALL:
                self._unknown(f"{key}.{name}", [f"{key}.{k}" for k in _OF_A_CALL])
        if not FUNCTION.fullmatch(table["factory"]):
            self.mistakes.append(f'{key}: "package.module:function" expected, not "{table["factory"]}"')
            return None
        args, kwargs = table.get("args", []), table.get("kwargs", {})
        if not isinstance(args, list) or not isinstance(kwargs, Mapping):
            self.mistakes.append(f"{key}: args is a list and kwargs a table")
            return None
        version = self._text(f"{key}.version", table.get("version", ""))
        return Call(table["factory"], tuple(args), dict(kwargs), version or "")

    def _data(self, key: str, value: Any) -> Call | None:
        """A call, or the path of a data set, alone or in the place of a factory."""
        table = {"factory": value} if isinstance(value, str) else value
        name = table.get("factory") if isinstance(table, Mapping) else None
        if not isinstance(name, str) or not name or FUNCTION.fullmatch(name):
            return self._call(key, value)
        path = self.folder / Path(name).expanduser()
        if not path.exists():
            expected = '"package.module:function" expected, or the path of data that is there'
            self.mistakes.append(f'{key}: {expected}, not "{name}"')
            return None
        kwargs = table.get("kwargs", {})
        if isinstance(kwargs, Mapping):
            kwargs = {**kwargs, "path": str(path)}
        return self._call(key, {**table, "factory": DATA_FILES, "kwargs": kwargs})

    def _number(self, key: str, value: Any, low: float, high: float, *, whole: bool = False) -> Any:
        kinds: tuple[type[int] | type[float], ...] = (int,) if whole else (int, float)
        if not isinstance(value, kinds) or isinstance(value, bool) or not low <= value <= high:
            what = "a whole number" if whole else "a number"
            self.mistakes.append(f"{key}: {what} from {low:,} to {high:,} expected, not {value!r}")
            return None
        return value if whole else float(value)

    def _numbers(self, key: str, value: Any, low: float, high: float, *, whole: bool = False) -> Any:
        if not isinstance(value, list) or not value:
            self.mistakes.append(f"{key}: a list of numbers expected, not {value!r}")
            return None
        return tuple(self._number(f"{key}[{i}]", v, low, high, whole=whole) for i, v in enumerate(value))

    def _choice(self, key: str, value: Any, choices: Sequence[str]) -> Any:
        if value not in choices:
            self.mistakes.append(f"{key}: one of {', '.join(choices)} expected, not {value!r}")
            return None
        return value

    def _texts(self, key: str, value: Any) -> Any:
        if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
            self.mistakes.append(f"{key}: a list of texts expected, not {value!r}")
            return None
        return tuple(value)

    def _pairs(self, key: str, value: Any) -> Any:
        whole = [v for pair in value if isinstance(pair, list) for v in pair] if isinstance(value, list) else []
        if not whole or len(whole) != 2 * len(value) or not all(isinstance(v, int) and v >= 0 for v in whole):
            self.mistakes.append(f"{key}: a list of pairs of numbers from 0 on expected, not {value!r}")
            return None
        return tuple((first, second) for first, second in value)

    def _text(self, key: str, value: Any) -> str | None:
        if not isinstance(value, str):
            self.mistakes.append(f"{key}: a text expected, not {value!r}")
            return None
        return value

    def _file(self, key: str, value: Any) -> Path | None:
        if not isinstance(value, str) or not value:
            self.mistakes.append(f"{key}: a file's path expected, not {value!r}")
            return None
        path = self.folder / Path(value).expanduser()
        if not path.is_file():
            self.mistakes.append(f"{key}: {path}: {'not a file' if path.exists() else 'no such file'}")
            return None
        return path


_Check = Callable[[_Reader, str, Any], Any]


def _numbers(low: float, high: float, *, whole: bool = False, many: bool = False) -> _Check:
    def check(reader: _Reader, key: str, value: Any) -> Any:
        return (reader._numbers if many else reader._number)(key, value, low, high, whole=whole)

    return check


_BELOW_ONE = 0.99
"""The largest sparsity in a recipe. Not tuned; 1 would leave no channel."""

_CHECKS: Mapping[str, _Check] = {
    "model.factory": _Reader._factory,
    "model.input": _numbers(1, 1 << 20, whole=True, many=True),
    "model.weights": _Reader._file,
    "model.inputs": _numbers(1, 64, whole=True),
    "model.version": lambda r, k, v: r._text(k, v),
    "data.train": _Reader._data,
    "data.test": _Reader._data,
    "data.validation": _Reader._data,
    "teacher.train": _Reader._call,
    "teacher.epochs": _numbers(1, 100_000, whole=True),
    "teacher.learning_rate": _numbers(1e-9, 1),
    "blocks.sparsity": _numbers(0, _BELOW_ONE, many=True),
    "blocks.max_ratio": _numbers(1e-6, 1),
    "blocks.round_to": _numbers(1, 256, whole=True),
    "blocks.importance": lambda r, k, v: r._choice(k, v, IMPORTANCE),
    "blocks.whole": _Reader._texts,
    "blocks.dense": _Reader._texts,
    "blocks.boundaries": _Reader._texts,
    "distill.epochs": _numbers(0, 100_000),
    "distill.learning_rate": _numbers(1e-9, 1),
    "distill.closed_form_images": _numbers(1, 1 << 20, whole=True),
    "profile.compositions": _numbers(2, 1000, whole=True),
    "profile.images": _numbers(1, 1 << 40, whole=True),
    "bundle.precision": lambda r, k, v: r._choice(k, v, ("fp32", "fp16")),
    "bundle.labels": _Reader._texts,
    "bundle.mean": _numbers(-1e9, 1e9, many=True),
    "bundle.std": _numbers(1e-9, 1e9, many=True),
    "bundle.layout": lambda r, k, v: r._choice(k, v, tuple(LAYOUTS)),
    "bundle.samples": _numbers(0, 4096, whole=True),
    "bundle.skeleton": _Reader._pairs,
}
