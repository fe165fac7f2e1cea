"""Rendering: what every application's answer looks like in its picture."""

import dataclasses
import os

import pytest
import torch

from legodnn.runtime.command.render.colours import GREEN, PALETTE, RED, colour, place
from legodnn.runtime.command.render.renderer import Renderer, file_name
from legodnn.runtime.frames.source import Frame
from legodnn.shared.bundle.manifest import AnswerSpec, InputSpec
from legodnn.shared.errors import InputError
from legodnn.shared.tasks.known import TASKS
from legodnn.shared.tasks.task import Meaning

Image = pytest.importorskip("PIL.Image")

NAN = float("nan")
GRAY = 128
LABELS = ("background", "cat", "dog", "cow")


@pytest.fixture
def render(maker, tmp_path):
    """Draws one answer of an application over a gray 32 x 32 image (or ``given``); the picture."""
    manifest = maker.manifest()

    def make(task, outputs, given=None, layout="NCHW", image=None, **answer):
        given = torch.zeros(1, 3, 32, 32) if given is None else given
        mean = (GRAY / 255,) * (1 if layout == "NCHW" and given.shape[1] == 1 else 3)
        spec = InputSpec(tuple(given.shape), "float32", layout, mean, (0.25,) * len(mean), LABELS)
        about = dataclasses.replace(manifest, task=task, input=spec, answer=AnswerSpec(**answer))
        application = TASKS[task]
        assert application.reads(outputs)
        results = application.results(outputs, Meaning.of(about))
        draw = Renderer(str(tmp_path / "out"), about)
        text = application.text(results)
        with Image.open(draw(Frame(0, list, image=image), [given], outputs, results, text)) as file:
            return file.convert("RGB")

    return make


def places(image, wanted):
    """The places that have this colour."""
    pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).view(image.height, image.width, 3)
    rows, columns = (pixels == torch.tensor(wanted)).all(2).nonzero(as_tuple=True)
    return set(zip(columns.tolist(), rows.tolist(), strict=True))


def untouched(image):
    return places(image, (GRAY,) * 3)


# ---- boxes --------------------------------------------------------------------------------------------------------
def detections(*rows):
    boxes, scores, labels = zip(*rows, strict=True)
    return [torch.tensor([boxes], dtype=torch.float32), torch.tensor([scores]), torch.tensor([labels])]


def test_boxes_have_their_class_s_colour_and_nothing_is_drawn_elsewhere(render):
    image = render("object detection", detections(((4, 8, 16, 24), 0.9, 1), ((20, 8, 30, 24), 0.8, 2)))
    assert image.size == (384, 384)
    for (left, right), number in (((4, 16), 1), ((20, 30), 2)):
        found = {(x, y) for x, y in places(image, colour(number)) if y > 24 * 6}  # below what the label may cover
        assert min(found)[0] == left * 12
        assert max(found)[0] == right * 12 - 1
        assert max(y for _, y in found) == 24 * 12 - 1
    changed = {(x, y) for x in range(384) for y in range(384)} - untouched(image)
    assert min(x for x, _ in changed) == 48
    assert max(y for _, y in changed) == 24 * 12 - 1
    assert (10 * 12, 16 * 12) in untouched(image)


@pytest.mark.parametrize("row", [
    ((4, 8, 16, 24), 0.49, 1), ((4, 8, 16, 24), 0.9, 0), ((4, 8, 16, 24), NAN, 1), ((NAN, 8, 16, 24), 0.9, 1),
    ((4, 8, 16, NAN), 0.9, 1), ((16, 8, 4, 24), 0.9, 1),
])  # fmt: skip
def test_weak_detections_padding_and_impossible_boxes_are_not_drawn(render, row):
    assert len(untouched(render("object detection", detections(row)))) == 384 * 384


def test_boxes_beyond_the_edge_are_cut_off(render):
    image = render("object detection", detections(((-1e9, -5, 16, float("inf")), 0.9, 3)))
    assert places(image, colour(3)) >= {(0, 200), (16 * 12 - 1, 200), (50, 383)}


def test_boxes_are_scaled_to_the_frame_s_own_image(render):
    original = torch.zeros(3, 200, 640)
    image = render("object detection", detections(((8, 8, 24, 24), 0.9, 1)), image=lambda: original)
    assert image.size == (640, 200)
    found = places(image, colour(1))
    assert (min(x for x, _ in found), max(x for x, _ in found)) == (160, 479)
    assert max(y for _, y in found) == 149
    assert image.getpixel((320, 100)) == (0, 0, 0)


# ---- masks --------------------------------------------------------------------------------------------------------
def test_masks_are_blended_over_the_picture_with_a_legend_of_what_is_there(render):
    scores = torch.zeros(1, 4, 8, 8)
    scores[:, 0], scores[:, 2, :, 4:] = 1, 2
    image = render("semantic segmentation", [scores])
    for number, x in ((0, 40), (2, 300)):
        assert image.getpixel((x, 200)) == pytest.approx([(GRAY + part) / 2 for part in colour(number)], abs=1)
    assert len({image.getpixel((x, y)) for x in range(192) for y in range(384)}) == 1
    assert image.width == 384
    assert image.height > 384
    legend = image.crop((0, 384, 384, image.height))
    assert places(legend, colour(0))
    assert places(legend, colour(2))
    assert not places(legend, colour(1))


def test_more_classes_than_colours_start_again():
    assert len(set(PALETTE)) == len(PALETTE) == 22
    assert [place(n) for n in (0, 1, 21, 22, 43)] == [0, 1, 21, 1, 1]
    assert colour(22) == colour(1) != colour(0)


def test_any_number_of_classes_can_be_drawn(render):
    scores = torch.zeros(1, 300, 4, 4)
    scores[0, 299] = 1
    image = render("semantic segmentation", [scores])
    assert image.getpixel((9, 9)) == pytest.approx([(GRAY + part) / 2 for part in colour(299)], abs=1)


# ---- poses --------------------------------------------------------------------------------------------------------
def keypoints(*rows):
    return [torch.tensor([rows], dtype=torch.float32)]


def test_keypoints_have_their_colours_and_are_joined(render):
    image = render("pose estimation", keypoints((8, 8, 1.0), (24, 8, 1.0), (16, 24, 1.0)), skeleton=((0, 1),))
    for number, (x, y) in enumerate([(8, 8), (24, 8), (16, 24)]):
        assert image.getpixel((x * 12, y * 12)) == colour(number + 1)
    assert image.getpixel((16 * 12, 8 * 12)) == colour(2)
    assert image.getpixel((12 * 12, 16 * 12)) == (GRAY,) * 3


def test_what_is_not_sure_is_fainter(render):
    image = render("pose estimation", keypoints((8, 8, 1.0), (24, 8, 0.3), (16, 24, 0.0)), skeleton=((0, 1),))

    def distance(x, y):
        return sum(abs(part - GRAY) for part in image.getpixel((x * 12, y * 12))[:3])

    assert distance(8, 8) > distance(24, 8)
    assert 0 < distance(16, 24) < 0.3 * sum(abs(part - GRAY) for part in colour(3))


def test_keypoints_that_are_nowhere_and_their_joints_are_left_out(render):
    rows = keypoints((NAN, 8, 1.0), (1e30, 8, 1.0), (8, 8, NAN), (-1e9, 3, 0.5))
    image = render("pose estimation", rows, skeleton=((0, 2), (1, 2), (2, 3), (2, 9)))
    changed = {(x, y) for x in range(384) for y in range(384)} - untouched(image)
    assert max(abs(x - 96) for x, _ in changed) < 12
    assert max(abs(y - 96) for _, y in changed) < 12


# ---- words --------------------------------------------------------------------------------------------------------
def test_a_class_is_a_caption_above_the_picture(render):
    image = render("image classification", [torch.tensor([[0.0, 9.0, 0.0, 0.0]])])
    assert image.width == 384
    assert untouched(image) == {(x, y) for x in range(384) for y in range(image.height - 384, image.height)}


@pytest.mark.parametrize(("score", "border"), [(0.7, RED), (0.2, GREEN)])
def test_abnormal_is_red_and_normal_is_green(render, score, border):
    image = render("anomaly detection", [torch.tensor([[score]])], torch.zeros(1, 1, 32, 32), threshold=0.5)
    edge = {(x, image.height - 1) for x in range(384)} | {(0, y) for y in range(image.height - 384, image.height)}
    assert edge <= places(image, border)
    assert (192, image.height - 192) in untouched(image)


def test_a_score_without_a_threshold_has_no_border(render):
    image = render("anomaly detection", [torch.tensor([[0.7]])])
    assert len(untouched(image)) == 384 * 384


@pytest.mark.parametrize(("shape", "layout", "size"), [
    ((1, 8, 3, 16, 16), "NTCHW", (4 * 192 + 12, 2 * 192 + 4)), ((1, 3, 4, 16, 16), "NCTHW", (2 * 384 + 4, 2 * 384 + 4)),
    ((1, 5, 3, 16, 16), "NTCHW", (3 * 256 + 8, 2 * 256 + 4)),
])  # fmt: skip
def test_a_clip_is_a_sheet_of_its_frames(render, shape, layout, size):
    given = torch.zeros(shape)
    given.select(layout.index("T"), 1).fill_(9.0)
    image = render("action recognition", [torch.tensor([[0.0, 9.0]])], given, layout)
    assert image.size[0] == size[0]
    sheet = image.crop((0, image.height - size[1], *image.size))
    side = size[0] // (4 if shape[1] == 8 else 2 if layout == "NCTHW" else 3)
    assert sheet.getpixel((5, 5)) == (GRAY,) * 3
    assert sheet.getpixel((side + 9, 5)) == (255,) * 3
    assert sheet.getpixel((5, side + 9)) == (GRAY,) * 3


# ---- files --------------------------------------------------------------------------------------------------------
def test_small_pictures_are_enlarged_and_large_ones_shrunk(render):
    answer = [torch.tensor([[0.0, 9.0]])]
    assert render("image classification", answer, torch.zeros(1, 3, 96, 64)).width == 256
    assert render("image classification", answer, torch.zeros(1, 1, 8, 300)).width == 300
    assert render("image classification", answer, image=lambda: torch.zeros(3, 20, 4000)).width == 1000


@pytest.mark.parametrize(("name", "expected"), [
    (None, "000007.png"), ("cat.jpg", "000007-cat.png"), ("clip.v2", "000007-clip.v2.png"),
    ("é" * 120 + ".PNG", "000007-" + "é" * 75 + ".png"),
])  # fmt: skip
def test_files_are_named_by_number_and_name(name, expected):
    assert file_name(Frame(7, list, name)) == expected


def test_networks_that_take_no_images_are_refused(maker, tmp_path):
    manifest = maker.manifest()
    for shape in ((1, 10), (1, 4, 8, 8)):
        other = dataclasses.replace(manifest, input=InputSpec(shape, "float32", "NCHW", None, None, ()))
        with pytest.raises(InputError, match=r"--render has nothing to draw on: this network takes .* 3 channels$"):
            Renderer(str(tmp_path / "out"), other)
    assert not (tmp_path / "out").exists()


def test_a_file_that_cannot_be_written_is_named_and_nothing_is_left(maker, tmp_path, monkeypatch):
    draw = Renderer(str(tmp_path / "out"), maker.manifest())

    def full(number):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        draw(Frame(0, list, "cat.jpg"), [torch.zeros(1, 3, 16, 16)], [torch.zeros(1, 5)], {}, "cat")
    assert caught.value.filename == str(tmp_path / "out" / "000000-cat.png")
    assert list((tmp_path / "out").iterdir()) == []
