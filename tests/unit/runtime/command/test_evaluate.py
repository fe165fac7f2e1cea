"""`legodnn-run --evaluate`: the figures are those of the selection that runs, on all that can be read, or there are
none."""

import json
import os
import signal
import subprocess
from dataclasses import replace

import pytest
import torch
import torch.nn as nn

from legodnn.runtime.command.main import main
from legodnn.shared.bundle.manifest import ORIGINAL, InputSpec, TensorSpec
from legodnn.shared.bundle.writer import write_bundle
from legodnn.shared.datasets.opening import open_dataset
from tests import bundles
from tests.unit.runtime.commands import WITH_CTRL_C, command, memory_by_tables

Image = pytest.importorskip("PIL.Image")

from tests.unit.shared.datasets.data_sets import mask, picture  # noqa: E402  (needs Pillow)

pytestmark = pytest.mark.usefixtures("common_cache")

PER_CLASS = 6


@pytest.fixture
def photos(tmp_path):
    generator = torch.Generator().manual_seed(5)
    for name in "abcde":
        for i in range(PER_CLASS):
            pixels = torch.randint(0, 256, (16, 16, 3), dtype=torch.uint8, generator=generator)
            (tmp_path / "photos" / name).mkdir(parents=True, exist_ok=True)
            image = Image.frombytes("RGB", (16, 16), bytes(pixels.flatten().tolist()))
            image.save(tmp_path / "photos" / name / f"{i}.png")
    return tmp_path / "photos"


def evaluation(capsys, *arguments):
    assert main([*map(str, arguments), "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    [found] = [row for row in rows if row["event"] == "evaluation"]
    assert [row["event"] for row in rows] == ["choice", "evaluation"]
    return found


def by_hand(maker, photos, selection):
    spec = InputSpec(bundles.INPUT, "float32", "NCHW", None, None, tuple("abcde"))
    examples = open_dataset("image classification", str(photos), spec).examples
    loaded = [example.load() for example in examples]
    right = [int(maker.answer(selection, x.inputs).argmax()) == int(x.truths[0]) for x in loaded]
    return sum(right) / len(right)


# ---- figures ------------------------------------------------------------------------------------------------------
def test_figures_are_those_of_what_was_chosen(path, maker, photos, capsys):
    teacher = evaluation(capsys, path, "--evaluate", photos)
    small = evaluation(capsys, path, "--evaluate", photos, "--memory", "70KiB")
    for found in (teacher, small):
        assert found["figures"]["top-1 accuracy"] == pytest.approx(by_hand(maker, photos, found["selection"]))
        assert found["trivial"] == {"top-1 accuracy": 0.2, "balanced accuracy": 0.2}
        assert found["examples"] == 5 * PER_CLASS
        assert found["skipped"] == found["remarks"] == []
    assert set(teacher["selection"].values()) == {ORIGINAL}
    assert set(small["selection"].values()) != {ORIGINAL}
    assert teacher["predicted"] == teacher["teacher"] == {"top-1 accuracy": 0.9}
    assert small["predicted"]["top-1 accuracy"] < 0.9


def test_what_is_broken_is_left_out_and_named(path, photos, capsys):
    for i in range(7):
        (photos / "c" / f"x{i}.jpg").write_bytes(b"no image")
    picture(photos / "stray.png")
    found = evaluation(capsys, path, "--evaluate", photos)
    assert found["examples"] == 5 * PER_CLASS
    assert [row["name"] for row in found["skipped"]] == ["stray.png", *(f"c/x{i}.jpg" for i in range(7))]
    assert main([str(path), "--evaluate", str(photos)]) == 0
    text = capsys.readouterr().out
    assert f"{5 * PER_CLASS} examples of {photos}, median " in text
    assert "predicted 90.00% (± 1.00 points on the builder's examples); chance level 20.00%" in text
    assert "8 skipped:\n  stray.png: it is in no sub-folder\n  c/x0.jpg: not readable as an image" in text
    assert text.endswith("  and 3 more; --json names all\n")


class Pixels(nn.Module):
    """Scores of five classes for every pixel."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(8, 5, 1)

    def forward(self, x):
        return self.layer(x)


def pixels_bundle(path, task):
    maker = bundles.BundleMaker()
    maker.modules["head"] = {ORIGINAL: Pixels().eval()}
    manifest = maker.manifest()
    test = replace(manifest.self_test, labels=(), output_specs=(TensorSpec("scores", (6, 5, 16, 16), "float32"),))
    write_bundle(path, replace(manifest, task=task, metric="mean IoU", self_test=test), maker.blobs)
    memory_by_tables(path)
    return maker


def test_masks_are_judged_pixel_by_pixel(tmp_path, capsys):
    path = tmp_path / "pixels.lgb"
    maker = pixels_bundle(path, "semantic segmentation")
    picture(tmp_path / "data" / "images" / "x.png", (16, 16), (200, 10, 90))
    x = torch.tensor([200, 10, 90]).view(1, 3, 1, 1).expand(1, 3, 16, 16) / 255
    found = maker.answer({}, x)[0].argmax(0)
    found[:2] = 255
    found[2:4] = (found[2:4] + 1) % 5
    mask(tmp_path / "data" / "masks" / "x.png", found.tolist())
    result = evaluation(capsys, path, "--evaluate", tmp_path / "data")
    assert result["figures"]["pixel accuracy"] == pytest.approx(12 / 14)
    (tmp_path / "data" / "images").rename(tmp_path / "data" / "JPEGImages")
    (tmp_path / "data" / "masks").rename(tmp_path / "data" / "SegmentationClass")
    (tmp_path / "data" / "val.txt").write_text("x\ny\n")
    listed = evaluation(capsys, path, "--evaluate", tmp_path / "data" / "val.txt")
    assert listed["figures"] == result["figures"]
    assert listed["data"] == str(tmp_path / "data" / "val.txt")
    assert listed["skipped"] == [{"name": "y", "reason": "no image in JPEGImages/"}]
    (tmp_path / "data" / "JPEGImages").rename(tmp_path / "data" / "images")
    (tmp_path / "data" / "SegmentationClass").rename(tmp_path / "data" / "masks")
    mask(tmp_path / "data" / "masks" / "x.png", [[5] * 16] * 16)
    assert main([str(path), "--evaluate", str(tmp_path / "data")]) == 2
    assert "x.png: class 5, but the network's labels are for 0 to 4" in capsys.readouterr().err
    mask(tmp_path / "data" / "masks" / "x.png", [[255] * 16] * 16)
    assert main([str(path), "--evaluate", str(tmp_path / "data")]) == 2
    assert "nothing to judge: no pixels with labels" in capsys.readouterr().err


# ---- what cannot be judged ----------------------------------------------------------------------------------------
def test_data_that_cannot_be_judged_are_refused_in_one_line(path, photos, tmp_path, capsys):
    picture(photos / "zebra" / "x.png")
    for number, name in enumerate("ab"):
        (tmp_path / "bad" / name).mkdir(parents=True)
        (tmp_path / "bad" / name / "x.jpg").write_bytes(b"no image" * number)
    for data, reason in (
        (photos, "class 'zebra' is none of the network's labels (a, b, c, d, e)"),
        (tmp_path / "none", "no such file or folder"),
        (tmp_path / "bad", "none of 2 examples could be used, the first: a/x.jpg: not readable"),
    ):
        assert main([str(path), "--evaluate", str(data)]) == 2
        output, errors = capsys.readouterr()
        assert [reason in line for line in errors.splitlines() if not line.startswith("measuring")] == [True]
        assert ("chosen" in output) == (data.name == "bad")  # what is seen at once is refused before anything else


@pytest.mark.parametrize(("change", "reason"), [
    ({"task": "vision"}, "this bundle is for 'vision'; what can be evaluated is image classification"),
    ({"task": "pose estimation"}, "no poses found"),
])  # fmt: skip
def test_bundles_of_other_applications_are_refused(tmp_path, photos, capsys, change, reason):
    maker = bundles.BundleMaker()
    write_bundle(tmp_path / "other.lgb", replace(maker.manifest(), **change), maker.blobs)
    assert main([str(tmp_path / "other.lgb"), "--evaluate", str(photos)]) == 2
    assert reason in capsys.readouterr().err


def test_answers_that_are_not_the_applications_are_refused(tmp_path, photos, capsys):
    path = tmp_path / "mixed.lgb"
    pixels_bundle(path, "image classification")
    assert main([str(path), "--evaluate", str(photos)]) == 2
    assert "the network's answers (1x5x16x16) are not those of image classification" in capsys.readouterr().err


@pytest.mark.parametrize("options", [
    ["--input", "x"], ["--fps", "3"], ["--frames", "3"], ["--adapt"], ["--schedule", "x"], ["--step", "1MiB"],
    ["--info"], ["--self-test"], ["--format", "rgb24"],
])  # fmt: skip
def test_options_for_frames_are_refused(path, photos, capsys, options):
    assert main([str(path), "--evaluate", str(photos), *options]) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.count("\n") == 1
    assert "--evaluate" in errors


def test_one_network_is_evaluated_at_a_time(path, photos, capsys):
    assert main([str(path), f"other={path}", "--evaluate", str(photos)]) == 2
    assert "--evaluate is for one network, not 2" in capsys.readouterr().err


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_an_interrupted_evaluation_has_no_figures(path, photos, number, status):
    for i in range(4000):
        os.link(photos / "a" / "0.png", photos / "a" / f"more{i}.png")
    arguments = [str(path), "--evaluate", str(photos), "--json"]
    program = [command()[0], "-c", WITH_CTRL_C, *arguments]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert json.loads(process.stdout.readline())["event"] == "choice"
        process.send_signal(number)
        rest, _ = process.communicate(timeout=60)
    assert process.returncode == status
    assert rest == b""


def test_a_device_without_torchvision_and_numpy_evaluates(path, photos):
    from tests.unit.test_architecture import interpret

    arguments = [str(path), "--evaluate", str(photos)]
    body = f"from legodnn.runtime.command.main import main; sys.exit(main({arguments!r}))"
    result = interpret(body)
    assert result.returncode == 0, result.stderr
    assert "top-1 accuracy: " in result.stdout
    missing = interpret(body, blocked=("torchvision", "numpy", "PIL"))
    assert missing.returncode == 2
    assert "pip install pillow" in missing.stderr
