"""`legodnn-run` on a terminal, a pseudo one: a screen while it runs, and the terminal as it was before afterwards."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time

import pytest

from legodnn.runtime import ScalingOptimizer
from legodnn.runtime.command.live.terminal import ENTER, LEAVE
from legodnn.shared.units import format_bytes
from tests.unit.runtime.commands import WITH_CTRL_C, command

pytestmark = pytest.mark.usefixtures("common_cache")

ENDLESS = ["--frames", "10000000"]


class OnTerminal:
    """A run whose output is a pseudo terminal of so many columns and rows."""

    def __init__(self, *arguments, size=(80, 24), code=WITH_CTRL_C, **environment):
        self._fd, end = pty.openpty()
        self.output = ""
        self.resize(*size)
        known = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "COLUMNS", "LINES", "PYTHONIOENCODING")}
        environment = {**known, "TERM": "xterm", "PYTHONUTF8": "1", **environment}
        line = [sys.executable, "-c", code, *map(str, arguments)]
        ends = {"stdin": subprocess.DEVNULL, "stdout": end, "stderr": subprocess.PIPE}
        self.process = subprocess.Popen(line, env=environment, **ends)
        os.close(end)

    def resize(self, width, rows):
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, width, 0, 0))

    def read_until(self, pattern):
        """Read on until what comes from now on matches."""
        start, until = len(self.output), time.monotonic() + 60
        while not re.search(pattern, self.output[start:]):
            assert time.monotonic() < until, f"no {pattern} in {self.output[-3000:]}"
            assert self._read(), self.output + self.process.stderr.read().decode()

    def end(self):
        """Read to the end; returns the exit status, and what was said on stderr."""
        while self._read():
            continue
        errors = self.process.stderr.read().decode()
        self.process.stderr.close()
        os.close(self._fd)
        return self.process.wait(), errors

    @property
    def frames(self):
        """What was drawn, frame by frame."""
        screen = self.output.partition(ENTER)[2].partition(LEAVE)[0]
        return screen.split("\x1b[H")[1:]

    @property
    def after(self):
        """What was printed once the screen had been left."""
        return self.output.partition(LEAVE)[2]

    def _read(self):
        assert select.select([self._fd], [], [], 60)[0], self.output
        try:
            data = os.read(self._fd, 65536).decode()
        except OSError:  # Linux, once the other end is closed
            return False
        self.output += data
        return bool(data)


def restored(run):
    return run.output.count(ENTER) == run.output.count(LEAVE) == 1 and "\x1b" not in run.after


def test_a_run_that_ends_shows_a_screen_and_restores_the_terminal(path):
    run = OnTerminal(path, "--memory", "10MB", "--time", "1s", "--fps", "8")
    status, errors = run.end()
    assert (status, errors) == (0, "")
    assert restored(run)
    before = run.output.partition(ENTER)[0]
    assert "chosen: sparsities in percent [0 0 0]" in before
    assert "\x1b" not in before
    assert 2 <= len(run.frames) <= 12  # about a second
    for text in ("LegoDNN", "small", "blocks", "██████", "of 1 s", "of 9.54 MiB", "top-1 accuracy 90.00%", "dropped"):
        assert text in run.frames[-1]
    assert re.search(r"latest .*frame \d: [a-e] \(", run.frames[-1])
    assert "no frame yet" not in run.frames[-1]
    lines = run.after.splitlines()
    assert [line.partition(":")[0] for line in lines[:6]] == [f"frame {i}" for i in range(6)]
    assert lines[6].startswith("6 frames, median")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
@pytest.mark.parametrize("several", [False, True])
def test_signals_restore_the_terminal(path, number, status, several):
    bundles = [f"left={path}", f"right={path}", "--rate", "100"] if several else [path]
    run = OnTerminal(*bundles, "--memory", "10MB", *ENDLESS)
    run.read_until(r"frame (\d{3}|[3-9]\d)")  # more lines than are shown at the end
    run.process.send_signal(number)
    ended, errors = run.end()
    assert ended == status
    assert restored(run)
    assert "Traceback" not in errors
    summaries = re.findall(r"\d+ frames, median", run.after)
    assert len(summaries) == (2 if several else 1)
    for name in ("left", "right") if several else ():
        assert name in run.frames[-1]
    lines = run.after.splitlines()
    assert re.fullmatch(r"the last 20 of \d+ lines \(--plain prints all\):", lines[0])
    assert all(" of " in lines[0] and "frame " in line for line in lines[1:21])
    assert "frames, median" in lines[21]


def test_ctrl_z_gives_the_terminal_back_until_the_run_goes_on(path):
    run = OnTerminal(path, "--memory", "10MB", *ENDLESS, code="import os; os.setpgrp()\n" + WITH_CTRL_C)
    run.read_until(r"frame \d")
    run.process.send_signal(signal.SIGTSTP)
    run.read_until(re.escape(LEAVE))
    _, status = os.waitpid(run.process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    assert run.output.endswith(LEAVE)
    run.process.send_signal(signal.SIGCONT)
    run.read_until(re.escape(ENTER) + r"[^\x00]*frame \d")
    run.process.send_signal(signal.SIGTERM)
    assert run.end()[0] == 0
    assert run.output.count(ENTER) == run.output.count(LEAVE) == 2
    assert "\x1b" not in run.output.rpartition(LEAVE)[2]


LOADING_FOR_EVER = """
import sys, time
from legodnn.runtime.frames.samples import Samples
def load(self, place):
    print("loading", file=sys.stderr, flush=True)
    while True:
        time.sleep(0.01)
Samples._load = load
"""


def test_a_second_signal_finds_the_terminal_restored(path):
    """The first is noted while a frame is being loaded that never ends."""
    run = OnTerminal(path, "--memory", "10MB", code=LOADING_FOR_EVER + WITH_CTRL_C)
    while b"loading" not in run.process.stderr.readline():
        continue
    run.process.send_signal(signal.SIGINT)
    run.read_until(re.escape(LEAVE))
    while run.process.poll() is None:
        run.process.send_signal(signal.SIGINT)
        time.sleep(0.05)
    assert run.end()[0] == -signal.SIGINT
    assert restored(run)


def test_a_run_that_fails_restores_the_terminal(path, tmp_path):
    (tmp_path / "cut").write_bytes(bytes(3 * 16 * 16 * 4 + 1))
    run = OnTerminal(path, "--memory", "10MB", "--input", tmp_path / "cut")
    status, errors = run.end()
    assert status == 2
    assert "frame 1 has 1 bytes" in errors
    assert run.after.startswith("frame 0: ")
    assert restored(run)


def test_it_follows_the_size_of_the_terminal(path):
    run = OnTerminal(path, "--memory", "10MB", *ENDLESS)
    run.read_until(r"frame \d")
    run.resize(30, 4)
    drawn = len(run.frames)
    while len(run.frames) < drawn + 4:
        run.read_until(r"\x1b\[J")
    run.process.send_signal(signal.SIGTERM)
    run.end()
    last = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", run.frames[-1]).split("\n")
    assert 2 <= len(last) <= 4
    assert max(map(len, last)) <= 30


def test_no_colours_where_they_are_not_wanted_and_ascii_where_nothing_else_can_be_shown(path):
    run = OnTerminal(path, "--memory", "10MB", "--fps", "20", NO_COLOR="1", PYTHONIOENCODING="ascii")
    assert run.end()[0] == 0
    assert not re.search(r"\x1b\[\d*m", "".join(run.frames))
    assert "######" in run.frames[-1]
    assert run.output.isascii()
    assert re.search(r"\x1b\[\d+m", "".join(coloured(path)))


def coloured(path):
    run = OnTerminal(path, "--memory", "10MB", "--fps", "20")
    run.end()
    return run.frames


@pytest.mark.parametrize(("options", "environment"), [
    (["--plain"], {}), (["--json"], {}), ([], {"TERM": "dumb"}),
])  # fmt: skip
def test_plain_lines_where_a_screen_is_not_wanted(path, options, environment):
    run = OnTerminal(path, "--memory", "10MB", *options, **environment)
    assert run.end()[0] == 0
    assert "\x1b" not in run.output
    lines = run.output.splitlines()
    if "--json" in options:
        lines = [json.loads(line)["event"] for line in lines]
        assert lines == ["choice", *["frame"] * 6, "summary"]
    else:
        assert sum(line.startswith("frame ") for line in lines) == 6


def test_what_is_piped_has_no_escape_codes(path):
    environment = {**os.environ, "TERM": "xterm"}
    result = subprocess.run(command(path, "--memory", "10MB"), capture_output=True, check=False, env=environment)
    assert result.returncode == 0
    assert b"\x1b" not in result.stdout + result.stderr
    assert result.stdout.count(b"frame ") == 6


def test_decisions_are_on_the_screen(path, network, tmp_path):
    optimizer = ScalingOptimizer(network)
    tight = (optimizer.minimum_bytes() + optimizer.choose().memory_bytes) // 2
    (tmp_path / "budgets.csv").write_text(f"at,time,memory\n0s,,10MB\n1s,,{tight}B\n")
    run = OnTerminal(path, "--schedule", tmp_path / "budgets.csv", "--fps", "30", *ENDLESS)
    run.read_until(r"\d\d:\d\d:\d\d tighter: now \[")
    run.read_until(f"of {format_bytes(tight)}")
    run.process.send_signal(signal.SIGTERM)
    assert run.end()[0] == 0
    assert "decisions" in run.frames[-1]
    assert restored(run)
