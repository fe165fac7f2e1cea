"""`legodnn-run` under budgets that change: a schedule, signals, the device; decisions as lines, as JSON, in a log."""

import json
import os
import signal
import subprocess
import sys

import pytest

from legodnn.runtime import ScalingOptimizer
from legodnn.runtime.command.main import main
from tests.unit.runtime.commands import WITH_CTRL_C, command

pytestmark = pytest.mark.usefixtures("common_cache")

ENDLESS = ["--frames", "10000000"]


@pytest.fixture
def tight(network):
    """Bytes between what the smallest selection needs and the teacher."""
    optimizer = ScalingOptimizer(network)
    return (optimizer.minimum_bytes() + optimizer.choose().memory_bytes) // 2


@pytest.fixture
def schedule(tmp_path, tight):
    path = tmp_path / "budgets.csv"
    path.write_text(f"at,time,memory\n0s,,\n600ms,,{tight}B\n")
    return path


class Running:
    """A run that answers in JSON, until it is told to end."""

    def __init__(self, *arguments):
        ends = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
        self.process = subprocess.Popen([sys.executable, "-c", WITH_CTRL_C, *map(str, arguments), "--json"], **ends)
        self.events = []

    def until(self, wanted):
        """The first event from now on that is wanted."""
        while True:
            line = self.process.stdout.readline()
            assert line, self.process.stderr.read()
            self.events.append(json.loads(line))
            if wanted(self.events[-1]):
                return self.events[-1]

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        output, errors = self.process.communicate()
        self.events.extend(json.loads(line) for line in output.splitlines())
        return self.process.returncode, errors.decode()


def decided(reason, network=None):
    return lambda e: (e["event"], e.get("reason"), e.get("network")) == ("decision", reason, network)


def test_a_schedule_is_followed_while_frames_run_and_decisions_are_logged(path, schedule, tight, tmp_path):
    log = tmp_path / "decisions.jsonl"
    log.write_text('{"reason": "of a run before"}\n')
    run = Running(path, "--schedule", schedule, "--log", log, "--fps", "50", *ENDLESS)
    choice = run.until(lambda e: e["event"] == "choice")
    assert choice["memory_bytes"] > tight
    decision = run.until(decided("tighter"))
    assert decision["predicted"]["memory_bytes"] <= tight
    assert decision["old"] == choice["selection"] != decision["new"]
    run.until(lambda e: e["event"] == "frame")
    status, errors = run.end()
    assert (status, errors) == (0, "")
    assert run.events[-1]["event"] == "summary"
    logged = [json.loads(line) for line in log.read_text().splitlines()]
    assert [e["reason"] for e in logged] == ["of a run before", "start", "tighter"]
    assert {"event": "decision", **logged[-1]} == decision


def test_a_signal_goes_to_the_next_step(path, tight):
    run = Running(path, "--step", "10MB", "--step", f"{tight}B,1s", "--fps", "50", *ENDLESS)
    assert run.until(lambda e: e["event"] == "choice")["memory_bytes"] > tight
    run.until(lambda e: e["event"] == "frame")
    run.process.send_signal(signal.SIGUSR1)
    decision = run.until(decided("tighter"))
    assert decision["budget"] == {"seconds": 1.0, "memory_bytes": tight, "slowdown": 1.0}
    assert run.end() == (0, "")


def test_text_says_what_runs_now_and_the_first_choice_once(path, schedule, capsys):
    assert main([str(path), "--schedule", str(schedule), "--strict", "--fps", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("start")] == []
    assert sum(line.startswith("chosen: ") for line in lines) == 1
    [decision] = [line for line in lines if line.startswith("tighter: now [")]
    assert "the current selection exceeded the budget" in decision


def test_the_device_is_followed(path, capsys):
    assert main([str(path), "--adapt", "--memory", "10MB", "--json"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    start = events[0]
    assert (start["event"], start["reason"]) == ("decision", "start")
    assert start["budget"]["memory_bytes"] <= 10_000_000
    assert [e["event"] for e in events[1:]] == ["choice"] + ["frame"] * 6 + ["summary"]


def test_several_networks_follow_one_budget_together(path, tight, tmp_path):
    csv = tmp_path / "two.csv"
    csv.write_text(f"at,time,memory\n0s,,\n600ms,,{2 * tight}B\n")
    log = tmp_path / "log"
    names = [f"left={path}", f"right={path}"]
    run = Running(*names, "--rate", "50", "--schedule", csv, "--adapt", "--log", log, *ENDLESS)
    [left, right] = [run.until(lambda e: e["event"] == "choice")["memory_bytes"] for _ in names]
    assert left + right > 2 * tight
    needed = {"left": left, "right": right}
    while sum(needed.values()) > 2 * tight:
        decision = run.until(lambda e: e.get("reason") == "tighter")
        needed[decision["network"]] = decision["predicted"]["memory_bytes"]
    status, errors = run.end(signal.SIGINT)
    assert status == 130
    assert "Traceback" not in errors
    assert [e["network"] for e in run.events[-2:]] == ["left", "right"]
    logged = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(e["network"], e["reason"]) for e in logged[:2]] == [("left", "start"), ("right", "start")]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_log_that_cannot_be_written_is_spoken_of_and_frames_go_on(path, capfd):
    assert main([str(path), "--adapt", "--log", "/dev/full"]) == 0
    output, errors = capfd.readouterr()
    assert "6 frames, median" in output
    assert "/dev/full: a decision could not be written: No space left on device" in errors
    assert "Traceback" not in errors


def test_a_reader_that_goes_away_ends_the_run_quietly(path, schedule):
    line = " ".join(command(path, "--schedule", schedule, "--fps", "20", "--json", *ENDLESS))
    script = f"{line} | head -n 1; exit ${{PIPESTATUS[0]}}"
    result = subprocess.run(["bash", "-c", script], capture_output=True, check=False)
    assert result.returncode == 141
    assert result.stderr == b""


@pytest.mark.parametrize(("options", "reason"), [
    (["--strict"], "--strict goes with --adapt, --schedule or --step"), (["--log", "x"], "--log goes with"),
    (["--step", "5"], "'5' is neither a time like 5ms nor a size"), (["--step", "5ms,6ms"], "one time and one size"),
    (["--step", ""], "neither"), (["--adapt", "--log", "/does/not/exist"], "/does/not/exist: No such file"),
    (["--schedule", "/does/not/exist"], "No such file"), (["--adapt", "--memory", "10B"], "no selection fits"),
])  # fmt: skip
def test_what_is_wrong_is_said_in_one_line(path, capsys, options, reason):
    assert main([str(path), *options]) == 2
    output, errors = capsys.readouterr()
    lines = [line for line in errors.splitlines() if not line.startswith("measuring")]
    assert output == ""
    assert len(lines) == 1
    assert reason in lines[0]


def test_every_mistake_of_a_schedule_is_named(path, tmp_path, capsys):
    (tmp_path / "bad.csv").write_text("at,time,memory\n0s,5,\n1s,,4\n")
    assert main([str(path), "--schedule", str(tmp_path / "bad.csv")]) == 2
    errors = capsys.readouterr().err
    assert "bad.csv:2: '5' has no unit" in errors
    assert "bad.csv:3: '4' has no unit" in errors
