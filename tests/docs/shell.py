"""Shell blocks: our own commands run, with substitutions; all others are checked for what they name."""

from __future__ import annotations

import importlib
import importlib.util
import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from legodnn.builder.recipe.load import tomllib
from tests.docs import commands
from tests.docs.documents import ROOT, Block
from tests.docs.substitutions import prepared, standard_input

OWN = ("legodnn-build", "legodnn-run")

RUN_AS_MODULES = ("legodnn.builder.zoo.write",)
"""Modules that are run as our commands are; of other modules the options are checked."""

SIMPLE = frozenset({"cat", "cp", "mkdir", "mv", "printf"})
"""Commands that run as they are."""

NOT_OURS = frozenset(
    {"apt-get", "ffmpeg", "git", "kill", "lint-imports", "mypy", "pkill", "rpicam-vid", "ruff", "sudo"}
)
"""Commands that are neither run nor checked."""

_ASSIGNMENT = re.compile(r"\w+=\S*")


@dataclass(frozen=True)
class Command:
    """One command of a block: its line, its words, the output that the block shows, whether something is piped
    into it, and the file that it reads."""

    line: str
    words: list[str]
    shown: list[str]
    piped: bool = False
    reads: str | None = None


def commands_of(block: Block) -> Iterator[Command]:
    """The commands of an ``sh`` block, or of a ``console`` block, where they follow ``$`` and their output follows."""
    typed: list[tuple[str, list[str]]] = []
    for line in re.sub(r"\\\n\s*|(?<=\|)\n\s*", " ", block.text).splitlines():
        if block.language == "console" and not line.startswith("$ "):
            assert typed, f"{block.place}: output without a command"
            typed[-1][1].append(line)
        else:
            typed.append((line.removeprefix("$ "), []))
    for line, shown in typed:
        words = _words(line)
        assert not {"&&", ";", "&"} & set(words), f"{block.place}: several commands in a line: {line}"
        piped = False
        while words:
            end = words.index("|") if "|" in words else len(words)
            part, words = words[:end], words[end + 1 :]
            reads = None
            if "<" in part:
                reads = part[part.index("<") + 1]
                part = part[: part.index("<")]
            yield Command(line, part, [] if words else shown, piped, reads)
            piped = True


def _words(line: str) -> list[str]:
    """The words of a line without its comment; operators are words of their own."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    return list(lexer)


def run(block: Block) -> None:
    """Run a shell block in the current folder. Raises `AssertionError` with its place and what is wrong."""
    for command in commands_of(block):
        words = list(command.words)
        while _ASSIGNMENT.fullmatch(words[0]):
            del words[0]
        try:
            _run(words, command)
        except AssertionError as error:
            raise AssertionError(f"{block.place}: {command.line}\n{error}") from error


def _run(words: list[str], command: Command) -> None:
    name, *arguments = words
    name = {"python3": "python"}.get(Path(name).name, Path(name).name)  # .venv/bin/python is the same program
    module = arguments[1] if name == "python" and arguments[:1] == ["-m"] else None
    if name in OWN:
        _check_output(command.shown, _run_own(name, arguments, command))
    elif name in SIMPLE:
        subprocess.run(["bash", "-ec", command.line], check=True)
    elif module in RUN_AS_MODULES:
        assert importlib.import_module(module).main(prepared(module, arguments[2:])) == 0
    elif module is not None:
        _check_module(module, arguments[2:])
    elif name == "bash":
        assert (ROOT / arguments[0]).is_file(), f"no such file: {arguments[0]}"
    elif name == "pip":
        _check_pip(arguments)
    else:
        assert name in NOT_OURS, f"neither run nor known to {__name__}: {name}"


def _run_own(name: str, arguments: list[str], command: Command) -> str:
    arguments = prepared(name, arguments)
    fed = Path(command.reads).read_bytes() if command.reads else standard_input(arguments) if command.piped else b""
    status, output, errors = commands.run(name, arguments, fed)
    typed = shlex.join([name, *arguments])
    assert status == 0, f"run as: {typed}\nexit status {status}, output and errors:\n{output}{errors}"
    return output


def _check_output(shown: list[str], output: str) -> None:
    """Every line shown has to be one of the output's, numbers and units aside; ``...`` stands for any lines."""
    real = {masked(line) for line in output.splitlines()}
    missing = [line for line in shown if line.strip() not in ("", "...") and masked(line) not in real]
    assert not missing, "\n".join(["shown, but no longer printed:", *missing, "what is printed:", output])


def masked(line: str) -> str:
    """A line with all numbers, their units and the width of gaps made equal."""
    line = re.sub(r"\d[\d.,]*(e[-+]?\d+)?", "#", line)
    line = re.sub(r"# ?(us|ms|s|B|KiB|MiB|GiB)\b", "#", line)
    return re.sub(r"\s+", " ", line).strip()


def _check_module(name: str, arguments: list[str]) -> None:
    """A module exists, the files of the repository that it is given exist, and the source of ours has every option."""
    assert importlib.util.find_spec(name) is not None, f"no such module: {name}"
    assert [a for a in arguments if a.startswith("tests/") and not (ROOT / a.partition("::")[0]).exists()] == []
    if name.partition(".")[0] not in ("legodnn", "tests"):
        return
    found = importlib.util.find_spec(name)
    if found is not None and found.submodule_search_locations:
        found = importlib.util.find_spec(f"{name}.__main__")
    origin = found.origin if found is not None else None
    assert origin is not None, f"cannot be run: {name}"
    source = Path(origin).read_text(encoding="utf-8")
    unknown = [a for a in arguments if a.startswith("--") and f'"{a.partition("=")[0]}"' not in source]
    assert unknown == [], f"{name} has no option {', '.join(unknown)}"


def _check_pip(arguments: list[str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for argument in arguments:
        extras = re.search(r"\[(.*)\]", argument)
        for extra in extras[1].split(",") if extras else ():
            assert extra in project["optional-dependencies"], f"pyproject.toml has no extra '{extra}'"
