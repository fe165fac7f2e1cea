"""`legodnn-run` with several bundles: names, rates, one choice for all, feeds side by side."""

import json
import signal
import subprocess
import sys

import pytest
import torch

from legodnn.runtime.command.main import main
from legodnn.shared.bundle.tensors import tensor_to_bytes
from tests import bundles
from tests.unit.runtime.commands import WITH_CTRL_C, command, memory_by_tables

pytestmark = pytest.mark.usefixtures("common_cache")

FRAME_BYTES = 3 * 16 * 16 * 4


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """Another small bundle: its maker and its path."""
    path = tmp_path_factory.mktemp("other") / "other.lgb"
    return bundles.write(path, seed=7), path


@pytest.fixture
def both(path, other):
    return [str(path), str(memory_by_tables(other[1]))]


def events(output, kind=None, network=None):
    found = [json.loads(line) for line in output.splitlines()]
    return [
        e for e in found if kind in (None, e["event"]) and (network is None or e.get("network") == network)
    ]  # fmt: skip


def refusal(capsys, arguments):
    """What a refused run says on stderr; nothing was said on stdout."""
    assert main([str(a) for a in arguments]) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert all(line.startswith("legodnn-run: ") for line in errors.splitlines() if not line.startswith("measuring"))
    return errors


def test_each_network_runs_its_own_frames_and_says_so(both, maker, other, tmp_path, capsys):
    inputs = {"small": torch.randn(7, 3, 16, 16), "other": torch.randn(4, 3, 16, 16)}
    for name, frames in inputs.items():
        (tmp_path / name).write_bytes(tensor_to_bytes(frames))
    sources = [option for name in inputs for option in ("--input", f"{name}={tmp_path / name}")]
    assert main([*both, "--rate", "20", *sources, "--json"]) == 0
    output = capsys.readouterr().out
    for name, made in (("small", maker), ("other", other[0])):
        found = events(output, "frame", name)
        assert [e["frame"] for e in found] == list(range(len(inputs[name])))
        assert [e["class"] for e in found] == made.answer({}, inputs[name]).argmax(1).tolist()
    kinds = [(e["event"], e.get("network")) for e in events(output)]
    assert kinds[:3] == [("choice", "small"), ("choice", "other"), ("together", None)]
    assert kinds[-2:] == [("summary", "small"), ("summary", "other")]
    assert [e["frames"] for e in events(output, "summary")] == [7, 4]


def test_one_budget_is_for_all_together(both, capsys):
    assert main([*both, "--rate", "10", "--json", "--frames", "1"]) == 0
    [everything] = events(capsys.readouterr().out, "together")
    limit = int(everything["memory_bytes"] * 0.8)
    options = ["--memory", f"{limit}B", "--weight", "other=50", "--json", "--frames", "1"]
    assert main([*both, "--rate", "10", *options]) == 0
    output = capsys.readouterr().out
    [small, other], [together] = events(output, "choice"), events(output, "together")
    assert small["memory_bytes"] + other["memory_bytes"] == together["memory_bytes"] <= limit
    assert other["predicted_accuracy"] > small["predicted_accuracy"]  # it counts fifty times as much


def test_deadlines_and_rates_decide_what_fits(both, capsys):
    errors = refusal(capsys, [*both, "--rate", "10", "--deadline", "other=1ns"])
    assert "nothing fits 100% of the cores' time" in errors
    assert "legodnn-run: other: needs" in errors
    assert "an inference, where it has 0.001 us" in errors
    assert "legodnn-run: small: needs" in errors
    assert "at 10 a second" in errors
    errors = refusal(capsys, [*both, "--rate", "10", "--memory", "1kB", "--cores", "0.5"])
    assert "nothing fits 1000 B and 50% of the cores' time" in errors
    assert errors.count("legodnn-run: ") == 3


def test_lines_of_text_begin_with_the_name(both, capsys):
    assert main([*both, "--rate", "100", "--frames", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("small: chosen: ") for line in lines) == 1
    assert sum(line.startswith("other: frame 1: ") for line in lines) == 1
    assert [line.partition(",")[0] for line in lines[-2:]] == ["small: 2 frames", "other: 2 frames"]
    assert any(line.startswith("together: ") and "of the cores' time" in line for line in lines)


def test_the_same_bundle_twice_under_two_names(path, capsys):
    arguments = [f"left={path}", f"right={path}", "--rate", "50", "--frames", "3", "--json"]
    assert main(arguments) == 0
    output = capsys.readouterr().out
    assert [e["network"] for e in events(output, "summary")] == ["left", "right"]


def test_info_and_self_test_of_several_need_no_rates(both, capsys):
    assert main([*both, "--info", "--json"]) == 0
    assert [e["network"] for e in events(capsys.readouterr().out, "info")] == ["small", "other"]
    assert main([*both, "--self-test", "--json"]) == 0
    assert [e["passed"] for e in events(capsys.readouterr().out, "self-test")] == [True, True]


@pytest.mark.parametrize(("options", "reason"), [
    ([], "no rate for small, other: say how many frames a second, like --rate small=10"),
    (["--rate", "small=10"], "no rate for other"), (["--rate", "0"], "frames per second"),
    (["--rate", "big=1"], "no network is called big, only small, other"),
    (["--rate", "small=x", "--rate", "1"], "--rate x: frames per second"),
    (["--rate", "1", "--rate", "2"], "all networks have --rate 1 already"),
    (["--rate", "small=1", "--rate", "small=2"], "small has --rate small=1 already"),
    (["--rate", "1", "--time", "5ms"], "--time is for one network"),
    (["--rate", "1", "--fps", "5"], "--fps is for one network"),
    (["--rate", "1", "--adapt", "--strict"], "--strict is for one network"),
    (["--rate", "1", "--input", "-"], "can feed one network only"),
    (["--rate", "1", "--format", "rgb24", "--size", "4x4"], "go with --input"),
    (["--rate", "1", "--format", "small=rgb24", "--size", "4x4"], "go with --input"),
    (["--rate", "1", "--deadline", "small=5"], "no unit"), (["--rate", "1", "--weight", "small=-1"], "a weight"),
    (["--rate", "1", "--cores", "2"], "share of the cores' time"), (["--rate", "1", "--frames", "0"], "at least 1"),
    (["--rate", "1", "--input", "other=/does/not/exist"], "/does/not/exist: No such file"),
])  # fmt: skip
def test_what_is_wrong_is_said_in_one_line(both, capsys, options, reason):
    errors = refusal(capsys, [*both, *options])
    assert reason in errors
    assert errors.count("\n") == 1


@pytest.mark.parametrize("option", ["--rate", "--deadline", "--weight", "--cores"])
def test_what_several_networks_share_means_nothing_for_one(path, capsys, option):
    assert f"{option} is for several networks" in refusal(capsys, [path, option, "1"])


def test_two_of_one_name_are_refused(path, capsys):
    errors = refusal(capsys, [path, path, "--rate", "1"])
    assert f"2 networks are called small; give them names: one={path} two={path}" in errors


def test_formats_for_all_leave_those_alone_that_have_no_raw_frames(both, tmp_path, capsys):
    (tmp_path / "clip").write_bytes(bytes(4 * 4 * 3 * 2))
    arguments = ["--input", f"small={tmp_path / 'clip'}", "--format", "rgb24", "--size", "4x4"]
    assert main([*both, "--rate", "50", *arguments, "--json"]) == 0
    assert [e["frames"] for e in events(capsys.readouterr().out, "summary")] == [2, 6]


def test_a_feed_that_fails_ends_the_run_and_the_others_in_good_order(both, tmp_path, capsys):
    (tmp_path / "cut").write_bytes(bytes(2 * FRAME_BYTES + 5))
    options = ["--rate", "other=0.01", "--rate", "small=20", "--input", f"small={tmp_path / 'cut'}", "--json"]
    assert main([*both, *options, "--frames", "1000"]) == 2
    output, errors = capsys.readouterr()
    assert f"{tmp_path / 'cut'}: frame 2 has 5 bytes" in errors
    assert "Traceback" not in errors
    assert [(e["network"], e["frames"]) for e in events(output, "summary")] == [("small", 2), ("other", 1)]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_ends_all_feeds_whatever_they_wait_for(both, number, status):
    """One waits for a frame that does not come, the other for the time of its next frame."""
    options = ["--rate", "small=100", "--rate", "other=0.01", "--frames", "1000", "--input", "small=-", "--json"]
    ends = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen([sys.executable, "-c", WITH_CTRL_C, *both, *options], bufsize=0, **ends) as process:
        process.stdin.write(bytes(FRAME_BYTES))
        lines, seen = [], set()
        while seen != {"small", "other"}:
            lines.append(process.stdout.readline())
            assert lines[-1], process.stderr.read()
            event = json.loads(lines[-1])
            seen |= {event["network"]} if event["event"] == "frame" else set()
        process.send_signal(number)
        lines.append(process.stdout.read())
        errors = process.stderr.read()
        assert process.wait() == status
    summaries = events(b"".join(lines), "summary")
    assert [(e["network"], e["frames"]) for e in summaries] == [("small", 1), ("other", 1)]
    assert b"Traceback" not in errors


def test_a_reader_that_goes_away_ends_all_feeds_quietly(both):
    line = " ".join(command(*both, "--rate", "200", "--frames", "100000", "--json"))
    script = f"{line} | head -n 4; exit ${{PIPESTATUS[0]}}"
    result = subprocess.run(["bash", "-c", script], capture_output=True, check=False)
    assert result.returncode == 141
    assert len(result.stdout.splitlines()) == 4
    assert b"Traceback" not in result.stderr
    assert b"legodnn-run:" not in result.stderr
