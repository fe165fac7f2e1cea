"""Both commands: their entry points, their parsers, and how one runs in this process."""

from __future__ import annotations

import argparse
import importlib
import io
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from unittest import mock

from legodnn.builder.recipe.load import tomllib
from tests.docs.documents import ROOT

Main = Callable[[list[str]], int]


def entry_points() -> dict[str, Main]:
    """The function behind each command that an installation has."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    found = {}
    for name, target in scripts.items():
        module, _, function = target.partition(":")
        found[name] = getattr(importlib.import_module(module), function)
    return found


def parser_of(command: str, subcommand: str | None = None) -> argparse.ArgumentParser:
    """The parser of a command, or of one of its subcommands: the one that would print the help."""
    shown: list[argparse.ArgumentParser] = []
    arguments = [*([subcommand] if subcommand else []), "--help"]
    with mock.patch.object(argparse.ArgumentParser, "print_help", lambda parser, file=None: shown.append(parser)):
        run(command, arguments)
    assert shown, f"{command} {' '.join(arguments)} prints no help"
    return shown[0]


def subcommands(command: str) -> list[str]:
    """The names of a command's subcommands: the first one is meant where none is given."""
    parser_of(command)  # imports the module that has the table
    package = entry_points()[command].__module__.rpartition(".")[0]
    modules = [module for name, module in sys.modules.items() if name.startswith(f"{package}.")]
    return next((list(module.SUBCOMMANDS) for module in modules if hasattr(module, "SUBCOMMANDS")), [])


def parsers(command: str) -> dict[str, argparse.ArgumentParser]:
    """The parsers of a command and of its subcommands, by what a user types to reach them."""
    default, *others = subcommands(command) or [""]
    first = f"{command} [{default}]" if default else command
    return {first: parser_of(command), **{f"{command} {name}": parser_of(command, name) for name in others}}


def options(command: str) -> set[str]:
    """All long options of a command and its subcommands."""
    actions = [action for parser in parsers(command).values() for action in parser._actions]
    return {option for action in actions for option in action.option_strings if option.startswith("--")}


def run(command: str, arguments: Sequence[str], stdin: bytes = b"") -> tuple[int, str, str]:
    """Run a command in this process; its exit status, and its output and errors."""
    output, errors = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    with tempfile.TemporaryFile() as feed:
        feed.write(stdin)
        feed.seek(0)
        with redirect_stdout(output), redirect_stderr(errors), mock.patch.object(sys, "stdin", feed):
            try:
                status = entry_points()[command](list(arguments))
            except SystemExit as end:  # argparse, behind --help and --version
                status = end.code if isinstance(end.code, int) else int(end.code is not None)
    return status, _text(output), _text(errors)


def _text(stream: io.TextIOWrapper) -> str:
    stream.seek(0)
    return stream.read()
