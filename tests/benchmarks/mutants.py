"""Whether tests notice small faults: `python -m tests.benchmarks.mutants [--count N] [--seed N] [--json FILE]`.

A mutant is the builder with one small change of cosmic-ray's (`pip install cosmic-ray`), such as ``<`` to ``<=`` or
``2`` to ``3``. A sample is drawn by seed from all mutants of some packages, and each is judged by its package's unit
tests: those in the package's folder, and those beside it that are called after it. A mutant that they fail on is
killed.

All changes are made in a copy of the repository. Every mutant is a process forked from one that has imported torch
already. It is given 20 s of processor time, so that verdicts do not depend on what else the machine does; one that
takes more is killed, too, as an endless loop. Annotations are not mutated, since they are never evaluated; nor is a
star that is no multiplication, as in ``f(*, a)``, which would be no Python.

``--survivors FILE`` judges those again that survived in an earlier run's FILE.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import itertools
import json
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

PACKAGES = {"distill": "distill", "profile": "profile", "prune": "prune", "bundle": "pack"}
"""The packages, and the word by which the names of tests beside their folders are known."""

SECONDS = 20
"""Of processor time for the tests of one mutant, which take half of it at most without one."""

PATIENCE = 10
"""Times `SECONDS` on the clock, for mutants that wait for something."""

MEMORY = 12 * 1024**3
"""Bytes of address space of a mutant: some ask for much more than there is. Torch takes 4 GiB. Not tuned."""

COPIED = ("builder", "runtime", "shared", "tests", "pyproject.toml")

KILLED, ENDLESS, SURVIVED = "killed", "killed: endless", "survived"

Position = tuple[int, int]


@dataclass(frozen=True)
class Mutant:
    """A change: the ``occurrence`` of an operator of cosmic-ray's in a file, and the line as it is changed."""

    package: str
    file: str
    line: int
    operator: str
    occurrence: int
    change: str = ""
    verdict: str = ""
    seconds: float = 0.0
    noticed_by: str = ""

    @property
    def name(self) -> str:
        """What identifies it as long as the file is the same."""
        return f"{self.file}:{self.operator}:{self.occurrence}"

    def __str__(self) -> str:
        return f"{self.verdict} after {self.seconds} s: {self.file}:{self.line}: {self.change}"


def main() -> None:
    """Draw, judge, and print a line for every mutant and a table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--count", type=int, default=300, metavar="N", help="mutants of the sample")
    options.add_argument("--seed", type=int, default=0, metavar="N", help="of the sample")
    options.add_argument("--only", choices=PACKAGES, help="judge those mutants of the sample that are in one package")
    options.add_argument("--survivors", metavar="FILE", help="judge the survivors in this FILE instead of a sample")
    options.add_argument("--json", metavar="FILE", help="write all verdicts here")
    given = options.parse_args()
    root = Path(__file__).parents[2]
    if given.survivors:
        rows = [Mutant(**row) for row in json.loads(Path(given.survivors).read_text(encoding="utf-8"))["mutants"]]
        chosen = [row for row in rows if row.verdict == SURVIVED]
    else:
        chosen = sample(root, given.count, given.seed)
    chosen = [mutant for mutant in chosen if given.only in (None, mutant.package)]
    judged = []
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        judge = Judge(root, Path(folder))
        judge.prepare(mutant.package for mutant in chosen)
        for mutant in chosen:  # as drawn: the first of them are a sample, too
            judged.append(judgement(judge, mutant))
            print(f"{len(judged)}/{len(chosen)} {judged[-1]}", flush=True)
            if given.json:
                rows = {"seed": given.seed, "count": given.count, "mutants": [asdict(m) for m in judged]}
                Path(given.json).write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print(table(judged))


def judgement(judge: Judge, mutant: Mutant) -> Mutant:
    """The mutant with what the tests say."""
    before = (judge.tree / mutant.file).read_text(encoding="utf-8")
    after = mutated(before, mutant)
    found = judge.judge(mutant.package, mutant.file, after)
    return replace(
        mutant, change=_changed_line(before, after, mutant.line), verdict=found.verdict,
        seconds=round(found.seconds, 1), noticed_by=found.noticed_by,
    )  # fmt: skip


def table(judged: Sequence[Mutant]) -> str:
    """The verdicts by package, as CSV."""
    lines = ["package,mutants,killed,of which endless,survived,killed_share"]
    for package in (*PACKAGES, "all"):
        found = Counter(m.verdict for m in judged if package in (m.package, "all"))
        total = sum(found.values())
        if total:
            killed = total - found[SURVIVED]
            lines.append(f"{package},{total},{killed},{found[ENDLESS]},{found[SURVIVED]},{killed / total:.3f}")
    return "\n".join(lines)


# ---- mutants -------------------------------------------------------------------------------------------------------
def mutants(root: Path, package: str) -> Iterator[Mutant]:
    """All mutants of a package, by file, operator and place."""
    for path in sorted((root / "builder" / package).glob("*.py")):
        source = path.read_text(encoding="utf-8")
        annotations = _annotations(source)
        for name, start, end, occurrence in _places(source):
            if not any(first <= start and end <= last for first, last in annotations):
                yield Mutant(package, path.relative_to(root).as_posix(), start[0], name, occurrence)


def sample(root: Path, count: int, seed: int) -> list[Mutant]:
    """So many mutants of all packages, or all where there are fewer."""
    everything = [mutant for package in PACKAGES for mutant in mutants(root, package)]
    random.Random(seed).shuffle(everything)
    return list(itertools.islice((mutant for mutant in everything if _is_python(root, mutant)), count))


def _is_python(root: Path, mutant: Mutant) -> bool:
    source = mutated((root / mutant.file).read_text(encoding="utf-8"), mutant)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of `is` with a number
        try:
            ast.parse(source)
        except SyntaxError:
            return False
    return True


def _places(source: str) -> Iterator[tuple[str, Position, Position, int]]:
    """Where the operators of cosmic-ray can change a source: operator, start, end, number of the occurrence."""
    plugins = _cosmic_ray()
    from cosmic_ray.ast import ast_nodes, get_ast

    nodes = list(ast_nodes(get_ast(source)))
    for name in plugins.operator_names():
        operator = plugins.get_operator(name)
        if not operator.arguments():
            found = (place for node in nodes for place in operator().mutation_positions(node))
            yield from ((name, start, end, number) for number, (start, end) in enumerate(found))


def mutated(source: str, mutant: Mutant) -> str:
    """The source with the change."""
    operator = _cosmic_ray().get_operator(mutant.operator)()
    from cosmic_ray.mutating import mutate_code

    changed: str | None = mutate_code(source, operator, mutant.occurrence)
    if changed is None:
        raise ValueError(f"{mutant.name}: there is no such place in the file; it has changed since")
    return changed


def _cosmic_ray() -> Any:
    try:
        from cosmic_ray import plugins
    except ImportError:
        sys.exit("cosmic-ray makes the mutants and is not installed: pip install cosmic-ray")
    return plugins


def _annotations(source: str) -> list[tuple[Position, Position]]:
    """Where a source has annotations."""
    found = []
    for node in ast.walk(ast.parse(source)):
        for part in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            if isinstance(part, ast.expr):
                found.append(((part.lineno, part.col_offset), (part.end_lineno or 0, part.end_col_offset or 0)))
    return found


def _changed_line(before: str, after: str, line: int) -> str:
    """The first line from ``line`` on that differs, as it was and as it is."""
    old, new = before.splitlines(), after.splitlines()
    for number in range(line - 1, min(len(old), len(new))):
        if old[number] != new[number]:
            return f"{old[number].strip()}  =>  {new[number].strip()}"
    return ""


# ---- tests ---------------------------------------------------------------------------------------------------------
def files_of_tests(root: Path, package: str, module: str) -> list[str]:
    """The files of a package's tests: those in its folder, that of a module first, and those beside it that are called
    after it."""
    folder = root / "tests" / "unit" / "builder"
    own = sorted((folder / package).glob("test_*.py"), key=lambda path: (path.name != f"test_{module}.py", path.name))
    found = [*own, *sorted(folder.glob(f"test_*{PACKAGES.get(package, package)}*.py"))]
    return [path.relative_to(root).as_posix() for path in found]


@dataclass(frozen=True)
class Outcome:
    """What a package's tests say to a change: the verdict, the processor time they took, and the first that failed."""

    verdict: str
    seconds: float
    noticed_by: str


class Judge:
    """Judges changes in a copy of the repository in ``folder``."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.tree, self.names, self.temporary = folder / "tree", folder / "names", folder / "temporary"
        for name in COPIED:
            copy: Callable[[Path, Path], object] = shutil.copytree if (root / name).is_dir() else shutil.copy2
            (self.tree / name).parent.mkdir(parents=True, exist_ok=True)
            copy(root / name, self.tree / name)
        (self.names / "legodnn").mkdir(parents=True)
        for half in ("builder", "runtime", "shared"):
            (self.names / "legodnn" / half).symlink_to(self.tree / half)

    def prepare(self, packages: Iterable[str]) -> None:
        """Run the packages' tests without a change. Ends the program where they fail."""
        import pytest  # noqa: F401  (what is imported here need not be imported for every mutant)
        import torch
        import torchvision  # noqa: F401

        torch.set_num_threads(1)  # a forked process has none of the threads
        for package in dict.fromkeys(packages):
            found = self._run(package, None)
            print(f"{package}: {found.seconds:.1f} s without a change", flush=True)
            if found.verdict != SURVIVED:
                sys.exit(f"the tests of {package} fail without a change:\n{self._output()[-3000:]}")

    def judge(self, package: str, file: str, source: str) -> Outcome:
        """What a package's tests say when a file has another source."""
        path = self.tree / file
        before = path.read_text(encoding="utf-8")
        try:
            path.write_text(source, encoding="utf-8")
            return self._run(package, path)
        finally:
            path.write_text(before, encoding="utf-8")

    def _run(self, package: str, changed: Path | None) -> Outcome:
        if changed:  # a compiled file is taken for that of a source of the same size and second
            for compiled in (changed.parent / "__pycache__").glob(f"{changed.stem}.*.pyc"):
                compiled.unlink()
        shutil.rmtree(self.temporary, ignore_errors=True)
        self.temporary.mkdir()
        files = files_of_tests(self.tree, package, changed.stem if changed else "")
        child = os.fork()
        if child == 0:
            self._test(files, compiling=changed is None)
        status, seconds = self._wait(child)
        if status is None or (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU):
            return Outcome(ENDLESS, seconds, "")
        code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -1
        if code > 2:  # pytest's codes: 0 and 1 for tests that passed and failed, 2 where one cannot be imported
            sys.exit(f"the tests of {package} did not run as they should:\n{self._output()[-3000:]}")
        failed = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - |$)", self._output(), re.MULTILINE)
        return Outcome(SURVIVED if code == 0 else KILLED, seconds, failed.group(1) if failed else "")

    def _wait(self, child: int) -> tuple[int | None, float]:
        """The child's status, None where it had to be ended, and its processor time; nothing it started goes on."""
        status, end = None, time.monotonic() + PATIENCE * SECONDS
        while status is None and time.monotonic() < end:
            found, code, use = os.wait4(child, os.WNOHANG)
            status = code if found else None
            time.sleep(0.02)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        if status is None:
            _, _, use = os.wait4(child, 0)
        return status, use.ru_utime + use.ru_stime

    def _test(self, files: Sequence[str], compiling: bool) -> None:
        """In the child: run tests in the copy; never returns. The exit status is pytest's."""
        code = 99
        try:
            os.setsid()
            resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 5))
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
            output = os.open(self.temporary / "output", os.O_WRONLY | os.O_CREAT)
            for stream in (1, 2):
                os.dup2(output, stream)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.chdir(self.tree)
            os.environ.update(PYTHONPATH=str(self.names), OMP_NUM_THREADS="1", TMPDIR=str(self.temporary))
            tempfile.tempdir = str(self.temporary)
            sys.path[:] = [str(self.tree), str(self.names), *sys.path]
            for name in [name for name in sys.modules if name.split(".")[0] in ("tests", "legodnn")]:
                del sys.modules[name]
            sys.dont_write_bytecode = not compiling
            import pytest

            code = int(pytest.main(["-q", "-x", "-p", "no:cacheprovider", *files]))
            if self.tree not in Path(str(sys.modules["legodnn.builder"].__file__)).resolve().parents:
                code = 98
        finally:
            sys.stdout.flush()
            os._exit(code)

    def _output(self) -> str:
        return (self.temporary / "output").read_text(encoding="utf-8", errors="replace")


if __name__ == "__main__":
    main()
