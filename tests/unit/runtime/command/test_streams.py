"""`legodnn-run` at the end of a pipe: pixels, folders, pace, signals."""

import dataclasses
import itertools
import json
import os
import signal
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F

from legodnn.runtime.command.main import main
from legodnn.shared.bundle.tensors import tensor_to_bytes
from legodnn.shared.bundle.writer import write_bundle
from tests import bundles
from tests.unit.runtime.commands import WITH_CTRL_C, command, memory_by_tables, refused, run

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)

pytestmark = pytest.mark.usefixtures("common_cache")

FRAME = bytes(3 * 16 * 16 * 4)


def events(output, kind=None):
    found = [json.loads(line) for line in output.splitlines()]
    return [e for e in found if kind is None or e["event"] == kind]


def started(*arguments):
    """A run that reads standard input and answers in JSON."""
    options = map(str, (*arguments, "--memory", "10MB", "--input", "-", "--json"))
    ends = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen([sys.executable, "-c", WITH_CTRL_C, *options], bufsize=0, **ends)


def answers_until(process, count):
    """Lines of output up to the ``count``-th frame's."""
    lines = []
    while sum(b'"event": "frame"' in line for line in lines) < count:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        lines.append(line)
    return b"".join(lines)


# ---- pixels -------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def normalised(tmp_path_factory):
    """The small bundle with a normalisation, and its maker."""
    path = tmp_path_factory.mktemp("normalised") / "small.lgb"
    maker = bundles.BundleMaker()
    manifest = maker.manifest()
    spec = dataclasses.replace(manifest.input, mean=MEAN, std=STD)
    write_bundle(path, dataclasses.replace(manifest, input=spec), maker.blobs)
    memory_by_tables(path)
    return maker, path


def test_pixels_are_resized_and_normalised_as_the_bundle_says(normalised):
    maker, path = normalised
    frames = torch.randint(0, 256, (5, 24, 32, 3), dtype=torch.uint8)
    arguments = [path, "--memory", "10MB", "--input", "-", "--format", "rgb24", "--size", "32x24", "--json"]
    result = run(*arguments, stdin=tensor_to_bytes(frames))
    assert result.returncode == 0, result.stderr
    images = F.interpolate(frames.permute(0, 3, 1, 2) / 255, (16, 16), mode="bilinear", antialias=True)
    inputs = (images - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    scores = maker.answer({}, inputs).softmax(1)
    found = events(result.stdout, "frame")
    assert [e["class"] for e in found] == scores.argmax(1).tolist()
    assert [e["label"] for e in found] == ["abcde"[e["class"]] for e in found]
    assert [e["probability"] for e in found] == pytest.approx(scores.amax(1).tolist(), abs=1e-4)
    assert [e["frame"] for e in found] == list(range(5))


@pytest.mark.parametrize(("name", "colour"), [
    ("bgr24", bytes([0, 0, 255]) * 64), ("yuv420p", bytes([81] * 64 + [90] * 16 + [240] * 16)),
    ("yuvj420p", bytes([76] * 64 + [85] * 16 + [255] * 16)),
], ids=["bgr24", "yuv420p", "yuvj420p"])  # fmt: skip
def test_formats_say_the_same_about_the_same_picture(normalised, name, colour):
    _, path = normalised
    outputs = [
        run(path, "--memory", "10MB", "--input", "-", "--format", kind, "--size", "8x8", "--json", stdin=data)
        for kind, data in (("rgb24", bytes([255, 0, 0]) * 64), (name, colour))
    ]
    [red], [same] = (events(o.stdout, "frame") for o in outputs)
    assert same["label"] == red["label"]
    assert same["probability"] == pytest.approx(red["probability"], abs=0.01)


@pytest.mark.parametrize(("options", "reason"), [
    (["--input", "-", "--format", "rgb48", "--size", "2x2"], "--format rgb48: not known; known are tensor, rgb24"),
    (["--input", "-", "--format", "rgb24"], "--format rgb24 needs --size"),
    (["--input", "-", "--size", "2x2"], "--size goes with --format"),
    (["--input", "-", "--format", "tensor", "--size", "2x2"], "--size goes with --format"),
    (["--input", "-", "--format", "rgb24", "--size", "640"], "like 640x480"),
    (["--input", "-", "--format", "rgb24", "--size", "0x480"], "from 1 to"),
    (["--input", "-", "--format", "yuv420p", "--size", "5x4"], "even sides"),
    (["--format", "rgb24", "--size", "2x2"], "--format goes with --input"), (["--size", "2x2"], "goes with --input"),
    (["--input", ".", "--format", "rgb24"], "is a folder"), (["--input", ".", "--size", "2x2"], "is a folder"),
    (["--fps", "0"], "frames per second"), (["--fps", "nan"], "frames per second"),
    (["--fps", "inf"], "frames per second"), (["--fps", "-1"], "frames per second"), (["--fps", "x"], "--fps x"),
])  # fmt: skip
def test_bad_options_are_refused_in_one_line(path, capsys, options, reason):
    assert main([str(path), *options]) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.startswith("legodnn-run: ")
    assert errors.count("\n") == 1
    assert reason in errors


@pytest.mark.parametrize("size", [0, 11, 13])
@pytest.mark.parametrize("pace", [[], ["--fps", "1000"]])
def test_a_stream_that_ends_within_a_frame_is_refused_in_one_line(path, size, pace):
    arguments = [path, "--memory", "10MB", "--input", "-", "--format", "rgb24", "--size", "2x2", *pace]
    assert "a 2x2 rgb24 frame has 12" in refused(run(*arguments, stdin=bytes(size)))


# ---- folders ------------------------------------------------------------------------------------------------------
def test_a_folder_of_images_and_a_broken_one_among_them(path, tmp_path):
    image = pytest.importorskip("PIL.Image")
    for name in ("b.png", "c.png"):
        image.new("RGB", (20, 10), (200, 100, 50)).save(tmp_path / name)
    (tmp_path / "a.jpg").write_bytes(b"no image")
    arguments = [path, "--memory", "10MB", "--input", tmp_path]
    result = run(*arguments, "--json")
    assert result.returncode == 0, result.stderr
    [skipped], [summary] = events(result.stdout, "skipped"), events(result.stdout, "summary")
    assert (skipped["frame"], skipped["file"]) == (0, "a.jpg")
    assert "not readable as an image" in skipped["reason"]
    assert [(e["frame"], e["file"]) for e in events(result.stdout, "frame")] == [(1, "b.png"), (2, "c.png")]
    assert (summary["frames"], summary["skipped"]) == (2, 1)
    text = run(*arguments).stdout.decode()
    assert "frame 1 (b.png): " in text
    assert "2 frames, median" in text
    assert "; 1 skipped" in text


def test_folders_that_hold_nothing_to_run_are_refused_in_one_line(path, tmp_path):
    pytest.importorskip("PIL.Image")
    assert "no images in this folder" in refused(run(path, "--input", tmp_path))
    (tmp_path / "a.jpg").write_bytes(b"no image")
    assert "none of the frames could be used" in refused(run(path, "--memory", "10MB", "--input", tmp_path))


def test_a_missing_pillow_is_named_in_one_line(path, tmp_path):
    arguments = [str(path), "--input", str(tmp_path)]
    body = "import sys; sys.modules['PIL'] = None; from legodnn.runtime.command.main import main"
    code = f"{body}; sys.exit(main({arguments!r}))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert "pip install pillow" in refused(result)


# ---- pace ---------------------------------------------------------------------------------------------------------
def test_a_paced_pipe_takes_the_latest_frames_and_counts_the_others(path):
    """Frames come as fast as the pipe takes them; the last one is the latest there is."""
    result = run(path, "--memory", "10MB", "--input", "-", "--json", "--fps", "50", stdin=FRAME * 3000)
    found, [summary] = events(result.stdout, "frame"), events(result.stdout, "summary")
    numbers, dropped = [e["frame"] for e in found], [e["dropped"] for e in found]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == 2999
    assert dropped == sorted(dropped)
    assert summary["frames"] == len(found)
    assert summary["frames"] + summary["dropped"] == 3000
    assert summary["dropped"] > 0


def test_a_paced_file_takes_its_frames_in_order(path, tmp_path):
    (tmp_path / "x.raw").write_bytes(FRAME * 5)
    result = run(path, "--memory", "10MB", "--input", tmp_path / "x.raw", "--fps", "100", "--json")
    found, [summary] = events(result.stdout, "frame"), events(result.stdout, "summary")
    numbers = [e["frame"] for e in found]
    assert numbers == sorted(set(numbers))
    assert summary["frames"] + summary["dropped"] == 5
    assert [e["dropped"] for e in found] == [n - i for i, n in enumerate(numbers)]


def test_a_run_without_a_rate_says_nothing_of_dropped_frames(path):
    assert b"dropped" not in run(path, "--memory", "10MB", "--input", "-", "--json", stdin=FRAME).stdout


# ---- the end ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("pace", [[], ["--fps", "1000"]])
@pytest.mark.parametrize(("number", "status", "said"), [
    (signal.SIGTERM, 0, b""), (signal.SIGINT, 130, b"legodnn-run: interrupted"),
])  # fmt: skip
def test_a_signal_ends_a_run_that_waits_for_frames_in_good_order(path, pace, number, status, said):
    with started(path, *pace) as process:
        process.stdin.write(FRAME * 2 + FRAME[:100])
        output = answers_until(process, 1)
        process.send_signal(number)
        rest, errors = process.stdout.read(), process.stderr.read()
        assert process.wait() == status
    [summary] = events(output + rest, "summary")
    assert summary["frames"] == len(events(output + rest, "frame"))
    assert said in errors
    assert b"Traceback" not in errors


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_ends_a_run_whose_frames_keep_coming(path, number, status):
    with started(path) as process:
        process.stdin.write(FRAME)
        output = answers_until(process, 1)
        process.send_signal(number)
        with pytest.raises(BrokenPipeError):  # or it went on reading
            process.stdin.writelines(itertools.repeat(FRAME, 100_000))
        output += process.stdout.read()
        assert process.wait() == status
    assert [e["event"] for e in events(output)][-2:] == ["frame", "summary"]


def test_sigterm_before_the_first_frame_is_an_orderly_end_too(path):
    with started(path) as process:
        assert b'"choice"' in process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        output = process.stdout.read()
        assert process.wait() == 0
    # Whether there is a summary depends on whether waiting for frames had already begun.
    assert events(output) in ([], [{"event": "summary", "frames": 0, "median_seconds": None}])


@pytest.mark.parametrize("pace", ["", "--fps 1000"])
def test_a_reader_that_goes_away_ends_the_run_quietly(path, pace):
    line = " ".join(command(path, "--memory", "10MB", "--input", "-", "--json", pace))
    script = f"cat /dev/zero | {line} | head -n 1; exit ${{PIPESTATUS[1]}}"
    result = subprocess.run(["bash", "-c", script], capture_output=True, check=False, env=os.environ)
    assert result.returncode == 141
    assert b"Traceback" not in result.stderr
    assert b"legodnn-run:" not in result.stderr
    assert len(result.stdout.splitlines()) == 1
