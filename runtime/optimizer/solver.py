"""Solves integer programs with any available solver.

The CBC bundled with PuLP comes first, then every other solver that PuLP finds on this machine. After any failure the
next one is tried; if all fail, one exception lists the reasons in one line.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
from contextlib import suppress
from typing import Any, Callable, Iterator, List, Optional, Tuple

import pulp

from legodnn.shared.errors import SolverError

SOLVER_SECONDS = 30.0
"""The time limit of each solver: choosing for 50 networks takes 1 s (median, tests/benchmarks/README.md)."""

_GRACE = 5.0
"""Seconds beyond the limit before CBC is killed, since it checks its clock only now and then; not tuned."""
_FAST_FOLDER = "/dev/shm"


def solve(program: Any, usable: Callable[[], bool], heuristics: bool = True) -> None:
    """Solve a PuLP problem to proven optimality, and set its variables.

    ``usable`` tells whether their values are an answer; ``heuristics`` is whether CBC runs its heuristics before it
    branches, which takes longer than branching for small programs. Raises `SolverError` where no solver answers.
    """
    reasons: List[str] = []
    for name, make in _solvers(heuristics):
        reason = _attempt(program, make, usable)
        if reason is None:
            return
        reasons.append(f"{name} {reason}")
    if not reasons:
        reasons = ["PuLP brings none for this machine and finds none"]
    raise SolverError(
        f"no solver gave an answer: {'; '.join(reasons)}. Another one that PuLP finds will do, such as CBC from the "
        "system (apt-get install coinor-cbc) or HiGHS (pip install highspy)"
    )


def _attempt(program: Any, make: Callable[[], Any], usable: Callable[[], bool]) -> Optional[str]:
    """Why a solver gave no answer; None where it did."""
    program.assignStatus(pulp.LpStatusNotSolved)
    try:
        program.solve(make())
    except Exception as error:  # PuLP's interfaces raise exceptions of any type
        return f"failed ({' '.join(str(error).split()) or type(error).__name__})"
    if program.status == pulp.LpStatusOptimal and program.sol_status == pulp.LpSolutionOptimal:
        return None if usable() else "answered with something that is no selection"
    if program.status in (pulp.LpStatusNotSolved, pulp.LpStatusOptimal):
        return f"was not done after {SOLVER_SECONDS:g} s"
    return f"called the program {pulp.LpStatus[program.status].lower()}"


def _solvers(heuristics: bool) -> Iterator[Tuple[str, Callable[[], Any]]]:
    bundled = pulp.PULP_CBC_CMD.pulp_cbc_path
    if os.path.exists(bundled):
        yield "PuLP's CBC", lambda: Cbc(bundled, heuristics)
    for name in pulp.listSolvers(onlyAvailable=True):
        if name != pulp.PULP_CBC_CMD.name:
            yield name, lambda name=name: _other(name, heuristics)  # type: ignore[misc]


def _other(name: str, heuristics: bool) -> Any:
    if name == pulp.COIN_CMD.name:
        return Cbc(pulp.COIN_CMD().path, heuristics)
    try:
        return pulp.getSolver(name, msg=False, timeLimit=SOLVER_SECONDS, gapRel=0)
    except TypeError:  # not all of them have a gap to set
        return pulp.getSolver(name, msg=False, timeLimit=SOLVER_SECONDS)


class Cbc(pulp.COIN_CMD):  # type: ignore[misc]
    """CBC at a path.

    PuLP's own call of it waits without a limit, and writes and reads every column and row by name.
    """

    def __init__(self, path: str, heuristics: bool) -> None:
        super().__init__(path=path, msg=False)
        self.heuristics = "on" if heuristics else "off"

    def actualSolve(self, lp: Any, **_: Any) -> int:  # noqa: N802  (PuLP's name)
        """Solve a problem; returns PuLP's status. Raises `SolverError`, `OSError` where it cannot be started."""
        with _folder() as folder:
            source, result = os.path.join(folder, "program.mps"), os.path.join(folder, "solution")
            variables, names, rows, _objective = lp.writeMPS(source, rename=1)
            self._run(source, result)
            status, values, *_rest, kind = self.readsol_MPS(result, lp, variables, names, rows)
        lp.assignVarsVals(values)
        lp.assignStatus(status, kind)
        found: int = status
        return found

    def _run(self, source: str, result: str) -> None:
        command = [self.path, source, "-sec", f"{SOLVER_SECONDS:g}", "-timeMode", "elapsed"]
        # For programs this small these cost several times the branching they save.
        command += ["-preprocess", "off", "-cuts", "off", "-heuristics", self.heuristics]
        command += ["-solve", "-solution", result]
        nothing = subprocess.DEVNULL
        # Without close_fds Python starts a process without copying its page tables; its files are not inherited anyway.
        process = subprocess.Popen(command, stdin=nothing, stdout=nothing, stderr=nothing, close_fds=False)
        watchdog = threading.Timer(SOLVER_SECONDS + _GRACE, process.kill)
        watchdog.daemon = True
        watchdog.start()
        try:
            code = process.wait()
        finally:
            late = not watchdog.is_alive()
            watchdog.cancel()
            process.kill()
        if late:
            raise SolverError(f"hung, and was stopped after {SOLVER_SECONDS + _GRACE:g} s")
        if code < 0:
            raise SolverError(f"was killed by signal {-code}")
        if code > 0 or not os.path.exists(result):
            raise SolverError(f"stopped with status {code} and no solution")


def _folder() -> "tempfile.TemporaryDirectory[str]":
    """A temporary folder for CBC's files, in memory if the system has `_FAST_FOLDER`."""
    with suppress(OSError):
        return tempfile.TemporaryDirectory(prefix="legodnn-", dir=_FAST_FOLDER)
    try:
        return tempfile.TemporaryDirectory(prefix="legodnn-")
    except OSError as error:
        raise SolverError(f"no temporary folder: {error}; set TMPDIR to one that can be written") from None
