"""Solvers that are missing, die, hang or lie: another one answers, or one line says why none does."""

import os
import shlex
import sys

import pulp
import pytest

from legodnn.runtime import ScalingOptimizer
from legodnn.runtime.optimizer import solver
from legodnn.shared.errors import LegoError, SolverError
from tests import made_up

CBC = pulp.PULP_CBC_CMD.pulp_cbc_path
BUDGET = 600 + 300 + 1500


def optimizer():
    return ScalingOptimizer(made_up.network([[(0.0, 1e-3, 1000, 100), (0.2, 5e-4, 500, 100), (0.3, 1e-4, 100, 1)]] * 2))


@pytest.fixture
def bundled(tmp_path, monkeypatch):
    """Puts a script in the place of PuLP's CBC."""

    def replace(script):
        path = tmp_path / "bundled-cbc"
        path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        path.chmod(0o755)
        monkeypatch.setattr(pulp.PULP_CBC_CMD, "pulp_cbc_path", str(path))

    return replace


@pytest.fixture(autouse=True)
def none_installed(tmp_path, monkeypatch):
    """Nothing on the path but what a test puts there; returns that folder."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def install(folder, name="cbc"):
    """A solver of the system: CBC under another path."""
    path = folder / name
    path.write_text(f'#!/bin/sh\nexec {shlex.quote(os.path.abspath(CBC))} "$@"\n', encoding="utf-8")
    path.chmod(0o755)


@pytest.fixture
def expected(none_installed):
    return optimizer().choose(None, BUDGET)


KILLED = "kill -9 $$"
FAILED = "exit 3"
SILENT = "exit 0"
# The arguments end with "-solution FILE".
LIES = 'for last in "$@"; do :; done; printf "Optimal - objective value 0\\n 0 X0000000 1 0\\n" > "$last"'
INFEASIBLE = 'for last in "$@"; do :; done; printf "Infeasible - objective value 0\\n" > "$last"'
UNFINISHED = 'for last in "$@"; do :; done; printf "Stopped on time - objective value 0\\n 0 X0000000 1 0\\n" > "$last"'
GARBAGE = 'for last in "$@"; do :; done; printf "Optimal\\n garbage\\n" > "$last"'
FAULTS = {
    KILLED: "killed by signal 9",
    FAILED: "stopped with status 3",
    SILENT: "no solution",
    LIES: "no selection",
    INFEASIBLE: "infeasible",
    UNFINISHED: "not done after",
    GARBAGE: "failed",
}


@pytest.mark.parametrize(("script", "reason"), FAULTS.items())
def test_whatever_is_wrong_with_cbc_is_said_in_one_line(expected, bundled, script, reason):
    bundled(script)
    other = optimizer()
    before = other.network.selection
    with pytest.raises(SolverError, match=reason) as failure:
        other.update_model(None, BUDGET)
    assert "\n" not in str(failure.value)
    assert isinstance(failure.value, LegoError)
    assert other.network.selection == before
    assert other.network.history == []


@pytest.mark.parametrize("script", FAULTS)
def test_another_solver_answers_then(expected, bundled, none_installed, script):
    bundled(script)
    install(none_installed)
    assert optimizer().choose(None, BUDGET) == expected


def test_a_missing_cbc_is_no_obstacle_where_there_is_another(expected, none_installed, monkeypatch):
    monkeypatch.setattr(pulp.PULP_CBC_CMD, "pulp_cbc_path", "/nowhere/cbc")
    with pytest.raises(SolverError, match="coinor-cbc"):
        optimizer().choose(None, BUDGET)
    install(none_installed)
    assert optimizer().choose(None, BUDGET) == expected


def test_a_cbc_for_another_machine_is_no_obstacle_where_there_is_another(expected, bundled, none_installed):
    bundled("")
    with open(pulp.PULP_CBC_CMD.pulp_cbc_path, "wb") as file:
        file.write(b"\x7fELF of another machine")
    with pytest.raises(SolverError, match="failed"):
        optimizer().choose(None, BUDGET)
    install(none_installed)
    assert optimizer().choose(None, BUDGET) == expected


def test_a_cbc_that_hangs_is_stopped(bundled, monkeypatch):
    bundled(f"exec {shlex.quote(sys.executable)} -c 'import signal; signal.pause()'")
    monkeypatch.setattr(solver, "SOLVER_SECONDS", 0.1)
    monkeypatch.setattr(solver, "_GRACE", 0.1)
    with pytest.raises(SolverError, match="hung"):
        optimizer().choose(None, BUDGET)


def test_without_a_folder_for_temporary_files_one_line_says_so(monkeypatch):
    def none(*_, **__):
        raise FileNotFoundError("[Errno 2] No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(solver.tempfile, "TemporaryDirectory", none)
    other = optimizer()
    with pytest.raises(SolverError, match=r"no temporary folder.*TMPDIR") as failure:
        other.update_model(None, BUDGET)
    assert "\n" not in str(failure.value)
    assert other.network.history == []


def test_temporary_files_go_where_they_can(expected, monkeypatch, tmp_path):
    monkeypatch.setattr(solver, "_FAST_FOLDER", "/nowhere")
    monkeypatch.setattr(solver.tempfile, "tempdir", str(tmp_path))
    assert optimizer().choose(None, BUDGET) == expected
    assert [p.name for p in tmp_path.iterdir()] == ["bin"]


def test_no_files_are_left_behind(bundled, tmp_path, monkeypatch):
    monkeypatch.setattr(solver, "_FAST_FOLDER", str(tmp_path))
    optimizer().choose(None, BUDGET)
    bundled(KILLED)
    with pytest.raises(SolverError):
        optimizer().choose(None, BUDGET)
    assert {p.name for p in tmp_path.iterdir()} == {"bin", "bundled-cbc"}
