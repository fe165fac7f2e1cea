"""Files are whole or not there; commands end with a reason and a status."""

import os

import pytest

from legodnn.shared.console import CommandParser, run_command
from legodnn.shared.errors import InfeasibleBudget, LegoError, RecipeError, UsageError
from legodnn.shared.files import atomic_write
from legodnn.shared.host import available_memory, current_host, host_key


def test_a_file_is_replaced_whole(tmp_path):
    atomic_write(tmp_path / "x", b"old")
    atomic_write(tmp_path / "x", [b"ne", b"w"])
    assert (tmp_path / "x").read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["x"]


def test_a_failure_midway_leaves_the_old_content_and_nothing_else(tmp_path):
    atomic_write(tmp_path / "x", b"old")

    def parts():
        yield b"half"
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        atomic_write(tmp_path / "x", parts())
    assert (tmp_path / "x").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["x"]


def test_what_a_killed_run_left_is_cleared_away(tmp_path):
    (tmp_path / ".x.123.part").write_bytes(b"half")
    (tmp_path / ".y.123.part").write_bytes(b"another's")
    atomic_write(tmp_path / "x", b"new")
    assert sorted(os.listdir(tmp_path)) == [".y.123.part", "x"]


def fails_with(error):
    def body():
        raise error

    return body


@pytest.mark.parametrize(("error", "text", "status"), [
    (UsageError("wrong"), "cmd: wrong\n", 2), (RecipeError(["a: x", "b: y"]), "cmd: a: x\ncmd: b: y\n", 2),
    (FileNotFoundError(2, "No such file or directory", "/a/b"), "cmd: /a/b: No such file or directory\n", 2),
    (OSError(28, "No space left on device"), "cmd: No space left on device\n", 2),
    (MemoryError(), "cmd: out of memory\n", 2), (KeyboardInterrupt(), "\ncmd: interrupted\n", 130),
])  # fmt: skip
def test_what_goes_wrong_becomes_a_line_and_a_status(capsys, error, text, status):
    assert run_command("cmd", fails_with(error)) == status
    assert capsys.readouterr().err == text


def test_a_defect_of_ours_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        run_command("cmd", fails_with(ZeroDivisionError()))


def test_a_command_that_succeeds_returns_its_status():
    assert run_command("cmd", lambda: 0) == 0


def test_wrong_arguments_are_one_line():
    with pytest.raises(UsageError, match="unrecognized arguments: --x; see 'cmd --help'"):
        CommandParser(prog="cmd").parse_args(["--x"])


def test_our_exceptions_are_caught_by_old_except_clauses():
    assert issubclass(InfeasibleBudget, ValueError)
    assert issubclass(RecipeError, LegoError)
    refusal = InfeasibleBudget("no", 0.1, 5, {"a": "b"}, 0.2, 6)
    assert (refusal.minimum_seconds, refusal.minimum_bytes, refusal.closest) == (0.1, 5, {"a": "b"})


def test_a_host_knows_itself():
    host = current_host()
    assert host.cores >= 1
    assert 0 < available_memory() <= host.memory_bytes
    assert host_key(host, 1) == host_key(host, 1) != host_key(host, 2)
