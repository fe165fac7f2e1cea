"""The parts of the documents that are made from the code, as Markdown."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from pathlib import Path

from legodnn.builder.recipe import load, schema
from legodnn.shared.console import EXIT_STATUSES
from legodnn.shared.programs.operators import ALLOWED
from tests.docs.commands import parsers

Row = tuple[str, ...]


def contents() -> dict[str, str]:
    """All generated parts by name, with an empty line before and after each."""
    return {name: f"\n{make()}\n" for name, make in _PARTS.items()}


def table(head: Row, rows: list[Row]) -> str:
    """A table."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |\n" for row in lines)


# ---- recipes --------------------------------------------------------------------------------------------------------
def recipe_keys() -> dict[str, tuple[str, str, str]]:
    """What every key may be, its default and its meaning."""
    manager = _default(schema.DEFAULT_MANAGER)
    found = {"manager": (_expected("manager"), manager, "What makes the manager: how the network is run and judged.")}
    for section, kind in schema.SECTIONS.items():
        meanings = schema.meanings(kind)
        for field in fields(kind):
            key = f"{section}.{field.name}"
            default = "required" if field.default is MISSING else _default(field.default)
            found[key] = (_expected(key), default, meanings[field.name])
            if key == "model.factory":
                found["model.args"] = ("a list", "`[]`", "The factory's positional arguments.")
                found["model.kwargs"] = ("a table", "`{}`", "The factory's keyword arguments.")
    return found


def _default(value: object) -> str:
    return "none" if value is None else f"`{json.dumps(value)}`"


def _expected(key: str) -> str:
    """What a key has to be, in the words in which anything else is refused."""
    nothing = object()
    check = load._CHECKS.get(key, load._Reader._call)
    for value in ([nothing], nothing):  # of what is no list, the second is complained about
        mistakes: list[str] = []
        check(load._Reader("", Path(), {}, mistakes), key, value)
        [mistake] = mistakes
        words = re.sub(r"\.0\b", "", mistake.partition(": ")[2].partition(" expected")[0])
        if mistake.startswith(f"{key}[0]"):
            return f"a list, each {words}"
    return words.replace('"package.module:function"', "a call")


def _recipe_table() -> str:
    return table(
        ("key", "value", "default", "meaning"),
        [(f"`{key}`", *row) for key, row in recipe_keys().items()],
    )


def _recipes() -> str:
    rows = []
    for name, path in load.builtin_recipes().items():
        first = path.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")
        complete = load.load_recipe(name).data.train is not None
        rows.append((f"`{name}`", first, "built in" if complete else "your own"))
    return table(("recipe", "network", "data"), rows)


# ---- commands -------------------------------------------------------------------------------------------------------
def _command(name: str) -> str:
    parts = []
    for typed, parser in parsers(name).items():
        parts.append(f"**`{typed}`**: {parser.description}\n\n{table(('argument', 'meaning'), _arguments(parser))}")
    return "\n".join(parts)


def _arguments(parser: argparse.ArgumentParser) -> list[Row]:
    shown = [a for a in parser._actions if a.help is not argparse.SUPPRESS and "--help" not in a.option_strings]
    return [(f"`{_typed(action)}`", _help(action)) for action in shown]


def _typed(action: argparse.Action) -> str:
    names = ", ".join(action.option_strings)
    value = action.metavar or (action.dest.upper() if names else action.dest)
    takes = action.nargs != 0
    repeated = " ..." if isinstance(action, argparse._AppendAction) or action.nargs in ("+", "*") else ""
    return f"{names} {value if takes else ''}".strip() + repeated


def _help(action: argparse.Action) -> str:
    if "--version" in action.option_strings:
        return "show the version"
    return " ".join((action.help or "").split()).replace("*", r"\*")


def _exit_statuses() -> str:
    rows = [(str(int(status)), meaning) for status, meaning in sorted(EXIT_STATUSES.items())]
    return table(("exit status", "meaning"), rows)


# ---- bundles --------------------------------------------------------------------------------------------------------
def _operators() -> str:
    names: dict[str, list[str]] = {}
    for operator in sorted(ALLOWED):
        kind, _, name = operator.partition("::")
        names.setdefault(kind, []).append(f"`{name}`")
    rows = [(f"`{kind}`", str(len(found)), " ".join(found)) for kind, found in names.items()]
    return table(("namespace", "number", "operators"), rows)


_PARTS: Mapping[str, Callable[[], str]] = {
    "recipe keys": _recipe_table,
    "recipes": _recipes,
    "options legodnn-build": lambda: _command("legodnn-build"),
    "options legodnn-run": lambda: _command("legodnn-run"),
    "exit statuses": _exit_statuses,
    "operators": _operators,
}
