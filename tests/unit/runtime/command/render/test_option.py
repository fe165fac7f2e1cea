"""`legodnn-run --render`, and clips: from files to pictures, for real bundles of every application."""

import json
import sys
from itertools import pairwise

import pytest
import torch
import torch.nn as nn
from torch import Tensor

from legodnn.builder import AutoBlockManager
from legodnn.builder.managers.task import TaskManager
from legodnn.runtime.command.main import main
from legodnn.runtime.command.render.colours import RED, colour
from legodnn.shared.bundle.manifest import AnswerSpec
from legodnn.shared.tasks.known import TASKS
from tests import bundles
from tests.benchmarks.untrained import untrained_bundle
from tests.unit.runtime.commands import memory_by_tables

Image = pytest.importorskip("PIL.Image")

pytestmark = pytest.mark.usefixtures("common_cache")


# ---- networks that answer what is expected ------------------------------------------------------------------------
class Body(nn.Module):
    """What can be pruned; heads read it, but say what they always say."""

    def __init__(self, head: nn.Module, clips: bool = False) -> None:
        super().__init__()
        conv = nn.Conv3d if clips else nn.Conv2d
        widths = (3, 8, 16, 8, 16, 8)
        layers = [nn.Sequential(conv(a, b, 3, padding=1), nn.ReLU()) for a, b in pairwise(widths)]
        self.layers = nn.Sequential(*layers)
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(x))


class Always(nn.Module):
    """The same answer to every input."""

    def __init__(self, *answers: Tensor) -> None:
        super().__init__()
        for i, answer in enumerate(answers):
            self.register_buffer(f"answer{i}", answer)
        self.count = len(answers)

    def forward(self, x: Tensor) -> Tensor:
        nothing = x.flatten(1).sum(1) * 0
        found = []
        for i in range(self.count):
            answer = getattr(self, f"answer{i}")
            found.append(answer + nothing.view(-1, *(1 for _ in answer.shape[1:])).to(answer.dtype))
        return tuple(found) if self.count > 1 else found[0]


class TimeLast(nn.Module):
    """Clips frame after frame, to a network that takes them channel after channel."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x.transpose(1, 2))


MASK = torch.zeros(1, 4, 16, 16)
MASK[:, 3, :, 8:] = 1
DETECTIONS = (torch.tensor([[[2.0, 2, 14, 14], [0, 0, 4, 4]]]), torch.tensor([[0.9, 0.1]]), torch.tensor([[2, 1]]))
KEYPOINTS = torch.tensor([[[4.0, 4, 1], [12, 4, 1]]])
SCORES = torch.tensor([[0.0, 9.0, 0.0]])

HEADS = {
    "semantic segmentation": lambda: Body(Always(MASK)),
    "object detection": lambda: Body(Always(*DETECTIONS)),
    "anomaly detection": lambda: Body(Always(torch.tensor([[0.9]]))),
    "pose estimation": lambda: Body(Always(KEYPOINTS)),
    "action recognition": lambda: Body(Always(SCORES), clips=True),
}


class Manager(TaskManager):
    """Says of the answers what the builder's managers find out."""

    def answer_spec(self, model, test_loader, device):
        return AnswerSpec(skeleton=((0, 1),), threshold=0.5)


def bundle(folder, task, make=None, size=(1, 3, 16, 16)):
    torch.manual_seed(0)
    make = make or HEADS[task]
    return untrained_bundle(AutoBlockManager([0.5], make(), Manager(TASKS[task]), size, 0.6), folder)


def rendered(folder):
    """The pictures in a folder by name."""
    found = {}
    for path in sorted(folder.iterdir()):
        with Image.open(path) as image:
            assert image.format == "PNG"
            found[path.name] = image.convert("RGB")
    return found


@pytest.fixture
def photos(tmp_path):
    """A folder of two gray photos."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, size in (("cat.jpg", (400, 300)), ("dog.png", (32, 32))):
        Image.new("RGB", size, (128,) * 3).save(folder / name)
    return folder


def run(capsys, *arguments):
    """The events of a run that went well."""
    assert main([str(a) for a in (*arguments, "--json", "--memory", "10MB")]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def refusal(capsys, *arguments):
    """The one line of a run that was refused, or broken off."""
    assert main([str(a) for a in (*arguments, "--json", "--memory", "10MB")]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("measuring")]
    assert len(lines) == 1, lines
    return lines[0]


# ---- pictures -----------------------------------------------------------------------------------------------------
def half(shade):
    """A class's colour over a gray photo."""
    return [(128 + part) / 2 for part in shade]


@pytest.mark.parametrize(("task", "places"), [
    ("semantic segmentation", {(300, 150): half(colour(3)), (99, 9): half(colour(0))}),
    ("object detection", {(50, 150): colour(2), (200, 150): (128,) * 3, (380, 9): (128,) * 3}),
    ("anomaly detection", {(0, 100): RED, (200, 150): (128,) * 3}),
    ("pose estimation", {(100, 75): colour(1), (300, 75): colour(2), (200, 75): colour(2), (200, 150): (128,) * 3}),
])  # fmt: skip
def test_answers_are_drawn_over_the_photos_they_are_about(tmp_path, photos, capsys, task, places):
    found = run(capsys, memory_by_tables(bundle(tmp_path, task)), "--input", photos, "--render", tmp_path / "out")
    assert [e["event"] for e in found] == ["choice", "frame", "frame", "summary"]
    pictures = rendered(tmp_path / "out")
    assert list(pictures) == ["000000-cat.png", "000001-dog.png"]
    assert pictures["000000-cat.png"].width == 400
    assert pictures["000001-dog.png"].width == 384
    for place, wanted in places.items():
        assert pictures["000000-cat.png"].getpixel(place) == pytest.approx(wanted, abs=3)


def test_what_is_said_and_timed_is_the_same_with_and_without(path, tmp_path, capsys):
    plain, drawn = run(capsys, path), run(capsys, path, "--render", tmp_path / "out")
    for event in (*plain, *drawn):
        for name in [name for name in event if "seconds" in name]:
            event[name] = None
    assert drawn == plain
    pictures = rendered(tmp_path / "out")
    assert list(pictures) == [f"{i:06d}.png" for i in range(6)]
    assert all(picture.width == 384 for picture in pictures.values())


def test_several_networks_have_a_folder_each(path, tmp_path, capsys):
    bundles.write(tmp_path / "other.lgb", seed=3)
    memory_by_tables(tmp_path / "other.lgb")
    run(capsys, path, tmp_path / "other.lgb", "--rate", 50, "--frames", 2, "--render", tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["other", "small"]
    assert len(rendered(tmp_path / "out" / "other")) == len(rendered(tmp_path / "out" / "small")) == 2


def test_pictures_of_a_run_replace_those_of_the_run_before(path, tmp_path, capsys):
    made = []
    for _ in range(2):
        run(capsys, path, "--frames", 2, "--render", tmp_path)
        made.append({p.name: p.read_bytes() for p in tmp_path.glob("*.png")})
    assert made[0] == made[1]
    assert len(made[0]) == 2


# ---- what can be wrong --------------------------------------------------------------------------------------------
def test_a_missing_pillow_is_named_before_anything_is_measured(path, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    line = refusal(capsys, path, "--render", tmp_path / "out")
    assert "Pillow is not installed; drawing pictures needs it: pip install pillow" in line
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_used_is_refused_by_name(path, tmp_path, capsys, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    assert f"{tmp_path / 'file'}: Not a directory" in refusal(capsys, path, "--render", tmp_path / "file")
    assert f"{tmp_path / 'file' / 'in'}: Not a dir" in refusal(capsys, path, "--render", tmp_path / "file" / "in")
    monkeypatch.setattr("os.access", lambda *_, **__: False)  # root may write anywhere
    assert f"{tmp_path / 'out'}: Permission denied" in refusal(capsys, path, "--render", tmp_path / "out")


@pytest.mark.parametrize("several", [False, True])
def test_a_disk_that_fills_up_ends_the_run_with_the_file_s_name(path, tmp_path, capsys, several):
    """A folder where a picture belongs cannot be replaced, whoever runs the tests."""
    arguments = [f"one={path}", f"two={path}", "--rate", 5] if several else [path]
    folder = tmp_path / "out" / ("one" if several else "")
    files = [folder / "000001.png", folder / "000002.png"]  # at a rate, a frame may be late and dropped
    for file in files:
        (file / "in the way").mkdir(parents=True)
    line = refusal(capsys, *arguments, "--frames", 3, "--render", tmp_path / "out")
    assert line.startswith(tuple(f"legodnn-run: {file}: " for file in files))
    assert sorted(p.name for p in folder.glob("*.png")) == ["000000.png", "000001.png", "000002.png"]


# ---- clips --------------------------------------------------------------------------------------------------------
CLIP = (1, 4, 3, 16, 16)


@pytest.fixture(scope="module")
def for_clips(tmp_path_factory):
    folder, task = tmp_path_factory.mktemp("clips"), "action recognition"
    return bundle(folder, task, lambda: TimeLast(HEADS[task]()), CLIP)


@pytest.fixture
def clips_bundle(for_clips):
    return memory_by_tables(for_clips)


def write_clip(folder, values):
    folder.mkdir(parents=True)
    for number, value in enumerate(values):
        Image.new("RGB", (20, 20), (value,) * 3).save(folder / f"{number:03d}.png")


def test_folders_of_clips_are_run_and_drawn_as_sheets(clips_bundle, tmp_path, capsys):
    write_clip(tmp_path / "videos" / "walk", range(0, 80, 10))
    write_clip(tmp_path / "videos" / "jump", [1, 2])
    found = run(capsys, clips_bundle, "--input", tmp_path / "videos", "--render", tmp_path / "out")
    assert [e["event"] for e in found] == ["choice", "frame", "frame", "summary"]
    assert [(e["file"], e["class"]) for e in found[1:3]] == [("jump", 1), ("walk", 1)]
    sheet = rendered(tmp_path / "out")["000001-walk.png"]
    top = sheet.height - 2 * 384 - 4
    values = [sheet.getpixel((x, top + y))[0] for y in (9, 399) for x in (9, 399)]
    assert values == pytest.approx([10, 30, 50, 70], abs=1)


def test_a_window_slides_over_raw_pixels(clips_bundle, tmp_path, capsys):
    (tmp_path / "x.raw").write_bytes(b"".join(bytes([i * 10] * 12) for i in range(9)))
    pixels = ["--input", tmp_path / "x.raw", "--format", "rgb24", "--size", "2x2", "--render", tmp_path / "out"]
    found = run(capsys, clips_bundle, *pixels)
    assert [e["frame"] for e in found if e["event"] == "frame"] == [0, 1, 2]
    last = rendered(tmp_path / "out")["000002.png"]
    assert last.getpixel((9, last.height - 9))[0] == pytest.approx(60, abs=1)


def test_networks_that_take_channels_first_read_clips_too(tmp_path, capsys):
    write_clip(tmp_path / "walk", range(0, 80, 10))
    path = memory_by_tables(bundle(tmp_path, "action recognition", size=(1, 3, 4, 16, 16)))
    [facts] = run(capsys, path, "--info")
    assert facts["input"]["layout"] == "NCTHW"
    run(capsys, path, "--input", tmp_path / "walk", "--render", tmp_path / "out")
    sheet = rendered(tmp_path / "out")["000000-walk.png"]
    assert sheet.getpixel((399, sheet.height - 9))[0] == pytest.approx(70, abs=1)


def test_too_few_frames_for_a_clip_are_refused(clips_bundle, tmp_path, capsys):
    (tmp_path / "x.raw").write_bytes(bytes(3 * 12))
    pixels = ["--input", tmp_path / "x.raw", "--format", "rgb24", "--size", "2x2"]
    assert "x.raw: 3 frames, a clip of this network has 4" in refusal(capsys, clips_bundle, *pixels)
