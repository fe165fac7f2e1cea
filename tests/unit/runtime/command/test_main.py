"""`legodnn-run` as a user meets it: output, exit status, one line for what is wrong."""

import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from legodnn.runtime import Network
from legodnn.runtime.command import main as main_module
from legodnn.runtime.device.memory_table import needed_bytes
from legodnn.shared.bundle.tensors import tensor_to_bytes
from legodnn.shared.bundle.writer import write_bundle
from tests import bundles
from tests.unit.runtime.commands import memory_by_tables, refused, run

pytestmark = pytest.mark.usefixtures("common_cache")


def test_samples_are_run_within_a_budget_as_json(path):
    result = run(path, "--memory", "1MiB", "--time", "1s", "--json")
    assert result.returncode == 0, result.stderr
    events = [json.loads(line) for line in result.stdout.splitlines()]
    kinds = [e["event"] for e in events]
    assert kinds == ["choice"] + ["frame"] * 6 + ["summary"]
    assert events[0]["memory_bytes"] <= 2**20
    assert events[-1]["judged"] == 6


def test_without_a_budget_it_shows_what_is_achievable(path):
    result = run(path)
    text = result.stdout.decode()
    assert result.returncode == 0
    assert "achievable on this device" in text
    assert "chosen: sparsities in percent [0 0 0]" in text
    assert "6 of 6 samples right" in text


@pytest.mark.parametrize("source", ["file", "-"])
def test_frames_come_from_a_file_or_a_pipe(path, tmp_path, maker, source):
    frames = torch.randn(5, 3, 16, 16)
    data = tensor_to_bytes(frames)
    (tmp_path / "frames.raw").write_bytes(data)
    arguments = [path, "--json", "--memory", "10MB", "--frames", 4, "--input"]
    result = run(*arguments, *(["-"] if source == "-" else [tmp_path / "frames.raw"]), stdin=data)
    assert result.returncode == 0, result.stderr
    classes = [json.loads(line)["class"] for line in result.stdout.splitlines() if b'"frame"' in line]
    assert classes == maker.answer({}, frames[:4]).argmax(1).tolist()


def test_info_and_self_test(path):
    facts = json.loads(run(path, "--info", "--json").stdout)
    assert [b["name"] for b in facts["blocks"]] == ["block0", "block1", "block2"]
    outcome = json.loads(run(path, "--self-test", "--json").stdout)
    assert outcome["passed"]


def test_a_self_test_says_what_it_tested(path, tmp_path):
    bundles.write(tmp_path / "pixels.lgb", pixels=True)
    bundles.write_bare(tmp_path / "bare.lgb")
    found = {p: run(p, "--self-test") for p in (path, tmp_path / "pixels.lgb", tmp_path / "bare.lgb")}
    assert [result.returncode for result in found.values()] == [0, 0, 0]
    tensors, pixels, none = (result.stdout.decode().strip() for result in found.values())
    assert "6 of 6 samples right; the samples are tensors, so that the reading of frames is not tested" in tensors
    assert pixels.endswith("; 6 of 6 samples right")
    assert none == "self-test: the bundle carries no samples (bundle.samples = 0), so there is nothing to compare with"
    values = json.loads(run(tmp_path / "pixels.lgb", "--self-test", "--json").stdout)
    assert {key: values[key] for key in ("samples", "form", "right", "judged")} == {
        "samples": 6, "form": "pixels", "right": 6, "judged": 6,
    }  # fmt: skip


def test_a_bundle_without_samples_asks_for_frames(tmp_path):
    path = tmp_path / "bare.lgb"
    bundles.write_bare(path)
    reason = f"{path}: the bundle carries no samples (bundle.samples = 0); name frames with --input"
    assert refused(run(path)) == f"legodnn-run: {reason}"
    (tmp_path / "frames.raw").write_bytes(tensor_to_bytes(torch.randn(2, 3, 16, 16)))
    result = run(memory_by_tables(path), "--input", tmp_path / "frames.raw", "--memory", "10MB")
    assert result.returncode == 0, result.stderr


def test_a_self_test_that_fails_is_a_status_of_its_own_and_a_run_is_refused(tmp_path):
    path = tmp_path / "wrong.lgb"
    maker = bundles.BundleMaker()
    manifest = maker.manifest()
    write_bundle(path, replace(manifest, self_test=replace(manifest.self_test, tolerance=1e-30)), maker.blobs)
    result = run(path, "--self-test", "--json")
    assert result.returncode == 1
    assert not json.loads(result.stdout)["passed"]
    assert result.stderr.decode().count("does not compute what the builder computed") == 1
    assert "does not compute what the builder computed" in refused(run(path))


def test_run_is_a_subcommand_and_planned_ones_are_kept(path):
    assert run("run", path, "--info", "--json").stdout == run(path, "--info", "--json").stdout
    assert "kept for a later version" in refused(run("doctor"))


def test_a_fault_of_ours_names_a_file_with_the_traceback(tmp_path, monkeypatch, capsys):
    def broken(name, words):
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setitem(main_module.SUBCOMMANDS, "run", broken)
    assert main_module.main(["x.lgb"]) == 3
    [log] = tmp_path.glob("legodnn-run-*.log")
    assert str(log) in capsys.readouterr().err
    assert main_module.main(["x.lgb", "--debug"]) == 3
    assert "Traceback" in capsys.readouterr().err


def test_version_and_help():
    assert run("--version").stdout.decode().startswith("legodnn-run 0.")
    assert "examples:" in run("--help").stdout.decode()


@pytest.mark.parametrize(("options", "reason"), [
    (["--time", "5"], "no unit"), (["--time=-5ms"], "not a positive"), (["--time", "0ms"], "not a positive"),
    (["--time", "nan"], "no unit"), (["--time", "nans"], "not a positive"), (["--memory", "4"], "no unit"),
    (["--memory", "4 parsecs"], "unknown unit"), (["--frames", "0"], "at least 1"), (["--threads", "-1"], "at least 1"),
    (["--threads", "100000"], "give no more"), (["--info", "--self-test"], "give one of them"),
    (["--render", __file__], "Not a directory"),
    (["--memory", "10B"], "no selection fits"), (["--time", "1ns"], "no selection fits"),
    (["--time", "1ns", "--memory", "10B"], "each taken alone"),
    (["--input", "/does/not/exist"], "No such file"), (["--frames", "many"], "invalid int"), (["--bogus"], "--bogus"),
])  # fmt: skip
def test_bad_options_are_refused_in_one_line(path, options, reason):
    assert reason in refused(run(path, *options))


def test_bad_files_are_refused_in_one_line(path, tmp_path):
    assert "No such file" in refused(run(tmp_path / "none.lgb"))
    assert "irectory" in refused(run(tmp_path))
    whole = path.read_bytes()
    flipped = whole[:-50] + bytes([whole[-50] ^ 1]) + whole[-49:]
    for name, data in {"empty": b"", "cut": whole[:-9], "other": b"PK\3\4" * 100, "flipped": flipped}.items():
        (tmp_path / name).write_bytes(data)
        assert str(tmp_path / name) in refused(run(tmp_path / name))


@pytest.mark.parametrize("size", [0, 100, 3 * 16 * 16 * 4 + 1])
def test_frames_that_end_early_are_refused(path, size):
    result = run(path, "--memory", "10MB", "--input", "-", stdin=bytes(size))
    assert result.returncode == 2
    assert b"3x16x16 float32 frame has 3072" in result.stderr
    assert b"Traceback" not in result.stderr


def test_a_reader_that_goes_away_is_no_error(path):
    command = f"{sys.executable} -m legodnn.runtime.command.main {path} --json | head -n 1"
    result = subprocess.run(["bash", "-c", command], capture_output=True, check=False)
    assert b"Traceback" not in result.stderr


def test_what_is_measured_is_remembered_shown_and_holds_from_then_on(path, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert known(path)["way"] is known(path)["latency"] is known(path)["memory"] is None
    measured = chosen(path)["memory_bytes"]
    with Network.open(path, cache=False) as network:
        assert measured > needed_bytes(network.manifest, network.manifest.original_selection) + 2**20
    assert chosen(path)["memory_bytes"] == measured
    assert b"memory predicted to within" in run(path, "--info").stdout
    assert known(path)["memory"]["compositions"] >= 4
    assert json.loads(Path(known(path)["file"]).read_text())["about"]["batch"] == 1


def known(path):
    """What `--info` says was measured."""
    return json.loads(run(path, "--info", "--json").stdout)["measured"]


def chosen(path, *options):
    """The choice of a run over one frame, without a budget."""
    result = run(path, "--frames", "1", "--json", *options)
    assert b"cannot be measured here" not in result.stderr
    events = [json.loads(line) for line in result.stdout.splitlines()]
    return next(e for e in events if e["event"] == "choice")
