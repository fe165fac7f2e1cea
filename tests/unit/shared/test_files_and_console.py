"""Files are whole or not there; commands end with a reason and a status."""

import os
import platform
import re
import subprocess
import sys
import tempfile
import threading

import pytest

from legodnn.shared.console import (
    EXIT_STATUSES,
    CommandParser,
    Exit,
    exit_statuses,
    run_command,
    split_subcommand,
)
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


def test_an_error_names_the_file_that_was_asked_for(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        atomic_write(tmp_path / "missing" / "x", b"new")
    assert caught.value.filename == str(tmp_path / "missing" / "x")


def test_what_a_killed_run_left_is_cleared_away(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    here = re.sub(r"[^\w-]", "-", platform.node())
    left = f".x.{here}.{gone.pid}.1.part"
    others = {f".y.{here}.{gone.pid}.1.part", f".x.{here}.{os.getpid()}.1.part", f".x.elsewhere.{gone.pid}.1.part"}
    for name in {left, *others}:
        (tmp_path / name).write_bytes(b"half")
    atomic_write(tmp_path / "x", b"new")
    assert set(os.listdir(tmp_path)) == {"x", *others}


def test_two_threads_that_write_one_file_do_not_meet(tmp_path):
    both = threading.Barrier(2)

    def parts(value):
        yield value
        both.wait(10)
        yield value

    threads = [threading.Thread(target=atomic_write, args=(tmp_path / "x", parts(value))) for value in (b"a", b"b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "x").read_bytes() in (b"aa", b"bb")
    assert os.listdir(tmp_path) == ["x"]


def fails_with(error):
    def body():
        raise error

    return body


@pytest.mark.parametrize(("error", "text", "status"), [
    (UsageError("wrong"), "cmd: wrong\n", 2), (RecipeError(["a: x", "b: y"]), "cmd: a: x\ncmd: b: y\n", 2),
    (FileNotFoundError(2, "No such file or directory", "/a/b"), "cmd: /a/b: No such file or directory\n", 2),
    (OSError(28, "No space left on device"), "cmd: No space left on device\n", 2),
    (MemoryError("no more"), "cmd: out of memory: no more\n", 2),
    (RuntimeError("CUDA out of memory"), "cmd: out of memory: CUDA out of memory\n", 2),
    (KeyboardInterrupt(), "\ncmd: interrupted\n", 130),
])  # fmt: skip
def test_what_goes_wrong_becomes_a_line_and_a_status(capsys, error, text, status):
    assert run_command("cmd", fails_with(error)) == status
    assert capsys.readouterr().err == text


def test_a_fault_of_ours_is_a_line_that_names_the_file_with_its_traceback(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert run_command("cmd", fails_with(ZeroDivisionError("by zero"))) == 3
    [log] = tmp_path.iterdir()
    wanted = f"cmd: a fault of LegoDNN: ZeroDivisionError: by zero; please report it with the file {log}\n"
    assert capsys.readouterr().err == wanted
    assert "Traceback" in log.read_text()


def test_a_fault_whose_file_cannot_be_written_is_still_a_line(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    assert run_command("cmd", fails_with(ZeroDivisionError("by zero"))) == 3
    [line] = capsys.readouterr().err.splitlines()
    assert "please report it with what --debug prints" in line


@pytest.mark.parametrize(("error", "status"), [(ZeroDivisionError(), 3), (UsageError("wrong"), 2)])
def test_debug_prints_the_traceback_of_everything(capsys, tmp_path, monkeypatch, error, status):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert run_command("cmd", fails_with(error), debug=True) == status
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(("words", "found"), [
    ([], ("build", [])), (["x.toml"], ("build", ["x.toml"])), (["build", "x.toml"], ("build", ["x.toml"])),
    (["new"], ("new", [])), (["./new"], ("build", ["./new"])), (["x.toml", "new"], ("build", ["x.toml", "new"])),
])  # fmt: skip
def test_a_first_word_that_is_a_subcommand_is_one(words, found):
    assert split_subcommand("cmd", words, ["build", "new"], ["export"]) == found


def test_a_subcommand_of_a_later_version_is_refused():
    with pytest.raises(UsageError, match=r"a file of that name is \./export"):
        split_subcommand("cmd", ["export"], ["build", "new"], ["export"])


def test_every_exit_status_has_a_meaning():
    assert set(EXIT_STATUSES) == set(Exit)
    assert [line.split()[0] for line in exit_statuses().splitlines()] == ["0", "1", "2", "3", "130", "141"]


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
