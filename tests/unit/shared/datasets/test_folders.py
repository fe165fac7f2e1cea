"""Classes, kinds and clips in folders: what they are is what their folder says, and what is broken is left out."""

import io
import sys

import pytest
import torch

from legodnn.shared.datasets.dataset import Classes, collated
from legodnn.shared.datasets.opening import labels_in, open_dataset
from legodnn.shared.datasets.paths import in_order, inside
from legodnn.shared.datasets.videos import spread
from legodnn.shared.errors import DataError, InputError, MissingExtra
from legodnn.shared.tasks.anomaly import Anomaly

Image = pytest.importorskip("PIL.Image")

from tests.unit.shared.datasets.data_sets import BLUE, RED, close, only, picture, spec  # noqa: E402  (needs Pillow)

IMAGES, ACTIONS, ANOMALIES = "image classification", "action recognition", "anomaly detection"


# ---- names --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", [
    "../x.png", "a/../../x.png", "/etc/passwd", "\\\\host\\x", "..\\x.png", "C:/x.png", "C:\\x.png", "", None, 7,
    "a\0b",
])  # fmt: skip
def test_names_in_annotations_never_lead_out_of_the_folder(name):
    with pytest.raises(InputError):
        inside("/data", name)


def test_names_may_lead_further_down():
    assert inside("/data", "a/b.png") == "/data/a/b.png"
    assert inside("/data", "a\\b..c.png") == "/data/a/b..c.png"


def test_classes_are_known_by_label_and_where_there_are_none_by_number():
    assert Classes(("a", "b")).number("b", "here") == 1
    assert Classes((), first=1).number("3", "here") == 3
    for classes, name, reason in [
        (Classes(("a", "b")), "c", "here: class 'c' is none of the network's labels \\(a, b\\)"),
        (Classes(("background", "a"), first=1), "background", "none of the network's labels \\(a\\)"),
        (Classes(("crane", "crane")), "crane", "the label of 2 of"), (Classes(()), "cat", "has no labels"),
        (Classes((), first=1), "0", "has no labels"), (Classes(()), "²", "has no labels"),
    ]:  # fmt: skip
        with pytest.raises(DataError, match=reason):
            classes.number(name, "here")


def test_frames_come_in_the_order_people_count():
    names = ["f10.png", "f9.png", "1.png", "f.png", "01.png"]
    assert in_order(names) == ["01.png", "1.png", "f9.png", "f10.png", "f.png"]


# ---- classes ------------------------------------------------------------------------------------------------------
def test_a_folder_is_a_class(tmp_path):
    picture(tmp_path / "cat" / "1.png", (4, 2), RED)
    picture(tmp_path / "dog" / "deep" / "2.JPG", (300, 1), BLUE)
    (tmp_path / "dog" / "notes.txt").write_text("no image")
    (tmp_path / ".hidden").mkdir()
    dataset = open_dataset(IMAGES, str(tmp_path), spec(labels=("fox", "dog", "cat")))
    assert [e.name for e in dataset.examples] == ["cat/1.png", "dog/deep/2.JPG"]
    cat, dog = (e.load() for e in dataset.examples)
    assert cat.truths[0].tolist() == [2]
    assert dog.truths[0].tolist() == [1]
    assert cat.inputs.shape == (1, 3, 8, 8)
    assert close(cat.inputs[0, :, 0, 0], [1, 0, 0])
    inputs, labels = collated([cat, dog])
    assert inputs.shape == (2, 3, 8, 8)
    assert labels.tolist() == [2, 1]


@pytest.mark.parametrize(("mode", "colour", "expected"), [
    ("L", 51, [0.2, 0.2, 0.2]), ("RGBA", (255, 51, 0, 9), [1, 0.2, 0]), ("P", 0, [0, 0, 0]), ("1", 1, [1, 1, 1]),
    ("LA", (51, 255), [0.2, 0.2, 0.2]), ("CMYK", (0, 0, 0, 0), [1, 1, 1]),
])  # fmt: skip
def test_images_of_every_kind_and_size_become_inputs(tmp_path, mode, colour, expected):
    (tmp_path / "a").mkdir()
    Image.new(mode, (1, 1), colour).save(tmp_path / "a" / ("x.tif" if mode == "CMYK" else "x.png"))
    assert close(only(open_dataset(IMAGES, str(tmp_path), spec(labels="a"))).inputs[0, :, 4, 4], expected, 2e-3)


def test_a_gray_network_sees_brightness(tmp_path):
    picture(tmp_path / "0" / "x.png", (3, 3), (255, 255, 255))
    assert only(open_dataset(IMAGES, str(tmp_path), spec(1, 1, 4, 4))).inputs.tolist() == [[[[1.0] * 4] * 4]]


def test_broken_images_fail_alone_and_images_without_a_class_are_named(tmp_path):
    buffer = io.BytesIO()
    Image.effect_noise((64, 64), 90).save(buffer, "JPEG")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "cut.jpg").write_bytes(buffer.getvalue()[:900])
    picture(tmp_path / "a" / "whole.png")
    picture(tmp_path / "stray.png")
    dataset = open_dataset(IMAGES, str(tmp_path), spec(labels="a"))
    assert [(s.name, s.reason) for s in dataset.skipped] == [("stray.png", "it is in no sub-folder")]
    cut, whole = dataset.examples
    with pytest.raises(InputError, match=r"cut.jpg: not readable as an image .*truncated") as refusal:
        cut.load()
    assert dataset.without(cut, refusal.value).reason.startswith("not readable as an image")
    assert whole.load().truths[0].tolist() == [0]


def test_data_that_cannot_be_the_network_s_are_refused(tmp_path):
    for path, labels, reason in [
        (tmp_path, "a", "no sub-folders"), (tmp_path / "none", "a", "none: no such file or folder"),
    ]:  # fmt: skip
        with pytest.raises(DataError, match=reason):
            open_dataset(IMAGES, str(path), spec(labels=labels))
    (tmp_path / "a").mkdir()
    with pytest.raises(DataError, match="no images in its sub-folders"):
        open_dataset(IMAGES, str(tmp_path), spec(labels="a"))
    picture(tmp_path / "a" / "x.png")
    for labels, shape, reason in [
        ("b", (1, 3, 8, 8), "class 'a' is none of"), ("", (1, 3, 8, 8), "has no labels"),
        ("a", (1, 5, 8, 8), "no images of 1 or 3 channels"), ("a", (1, 8, 3, 8, 8), "no images of 1 or 3 channels"),
    ]:  # fmt: skip
        with pytest.raises(DataError, match=reason):
            open_dataset(IMAGES, str(tmp_path), spec(*shape, labels=labels))
    with pytest.raises(DataError, match="a folder expected"):
        open_dataset(IMAGES, str(tmp_path / "a" / "x.png"), spec(labels="a"))
    with pytest.raises(DataError, match="no data sets are known for 'vision'"):
        open_dataset("vision", str(tmp_path), spec())


def test_labels_are_the_folders_names(tmp_path):
    for name in ("dog", "cat", ".git"):
        (tmp_path / name).mkdir()
    assert labels_in(IMAGES, str(tmp_path)) == ("cat", "dog")
    assert labels_in(ANOMALIES, str(tmp_path)) == ()


# ---- kinds --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("normal", ["good", "normal"])
def test_what_is_not_normal_is_abnormal(tmp_path, normal):
    for kind in (normal, "cracked", "stained"):
        picture(tmp_path / kind / "x.png")
    dataset = open_dataset(ANOMALIES, str(tmp_path), spec())
    truths = {e.name: int(e.load().truths[0]) for e in dataset.examples}
    assert truths == {f"{normal}/x.png": 0, "cracked/x.png": 1, "stained/x.png": 1}


def test_without_normal_ones_nothing_says_what_is_abnormal(tmp_path):
    picture(tmp_path / "train" / "x.png")
    with pytest.raises(DataError, match="no sub-folder of normal images, called good or normal"):
        open_dataset(ANOMALIES, str(tmp_path), spec())


def test_images_that_nobody_has_sorted_can_be_learned_from_and_nothing_judged_by_them(tmp_path):
    for name in ("1.png", "2.PNG", ".3.png"):
        picture(tmp_path / name)
    dataset = open_dataset(ANOMALIES, str(tmp_path), spec())
    assert [e.name for e in dataset.examples] == ["1.png", "2.PNG"]
    assert dataset.skipped == ()
    meter = Anomaly().meter()
    for example in dataset.examples:
        meter.add([torch.rand(1, 1)], example.load().truths)
    with pytest.raises(DataError, match="nothing can be judged"):
        meter.figures()
    picture(tmp_path / "normal" / "4.png")
    sorted_now = open_dataset(ANOMALIES, str(tmp_path), spec())
    assert [e.name for e in sorted_now.examples] == ["normal/4.png"]
    assert [s.name for s in sorted_now.skipped] == ["1.png", "2.PNG"]


# ---- clips --------------------------------------------------------------------------------------------------------
def clip(folder, count):
    for i in range(count):
        picture(folder / f"frame{i}.png", (4, 4), (i, 0, 0))


def frames(loaded):
    return (loaded.inputs[0, :, 0, 0, 0] * 255).round().int().tolist()


def test_frames_are_spread_evenly():
    assert spread(8, 8) == list(range(8))
    assert spread(16, 4) == [2, 6, 10, 14]
    assert spread(3, 6) == [0, 0, 1, 1, 2, 2]
    assert spread(1, 4) == [0] * 4


def test_a_clip_is_a_folder_of_frames(tmp_path):
    clip(tmp_path / "wave" / "one", 12)
    loaded = only(open_dataset(ACTIONS, str(tmp_path), spec(1, 4, 3, 4, 4, labels=("run", "wave"))))
    assert loaded.inputs.shape == (1, 4, 3, 4, 4)
    assert frames(loaded) == [1, 4, 7, 10]
    assert loaded.truths[0].tolist() == [1]
    assert loaded.remarks == ()


def test_networks_of_3d_convolutions_get_channels_first(tmp_path):
    clip(tmp_path / "wave" / "one", 4)
    loaded = only(open_dataset(ACTIONS, str(tmp_path), spec(1, 3, 4, 8, 8, labels=("wave",))))
    assert loaded.inputs.shape == (1, 3, 4, 8, 8)
    assert (loaded.inputs[0, 0, :, 0, 0] * 255).round().int().tolist() == [0, 1, 2, 3]


def test_short_clips_repeat_frames_and_say_so(tmp_path):
    clip(tmp_path / "wave" / "one", 2)
    loaded = only(open_dataset(ACTIONS, str(tmp_path), spec(1, 4, 3, 4, 4, labels=("wave",))))
    assert frames(loaded) == [0, 0, 1, 1]
    assert loaded.remarks == ("2 frames, the network takes 4: some came more than once",)


def test_broken_and_empty_clips_fail_and_loose_images_are_named(tmp_path):
    clip(tmp_path / "wave" / "broken", 3)
    (tmp_path / "wave" / "broken" / "frame1.png").write_bytes(b"no image")
    (tmp_path / "wave" / "empty").mkdir()
    picture(tmp_path / "wave" / "loose.png")
    dataset = open_dataset(ACTIONS, str(tmp_path), spec(1, 3, 3, 4, 4, labels=("wave",)))
    assert [s.name for s in dataset.skipped] == ["wave/loose.png"]
    for example, reason in zip(dataset.examples, ["frame1.png: not readable", "no frames"], strict=True):
        with pytest.raises(InputError, match=reason):
            example.load()


def test_a_network_of_images_takes_no_clips(tmp_path):
    with pytest.raises(DataError, match="clips are for networks that take several frames at once"):
        open_dataset(ACTIONS, str(tmp_path), spec())


def test_videos_without_pyav_are_refused_with_the_way_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "wave").mkdir()
    (tmp_path / "wave" / "x.mp4").write_bytes(b"no video")
    with pytest.raises(MissingExtra, match="pip install av"):
        open_dataset(ACTIONS, str(tmp_path), spec(1, 4, 3, 8, 8, labels=("wave",)))


def test_a_video_is_a_clip_and_a_broken_one_fails_alone(tmp_path):
    av = pytest.importorskip("av")
    (tmp_path / "wave").mkdir()
    with av.open(str(tmp_path / "wave" / "b.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 18, 6, "bgr0"
        for i in range(10):
            frame = av.VideoFrame.from_image(Image.new("RGB", (18, 6), (20 * i, 0, 255 - 20 * i)))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    whole = (tmp_path / "wave" / "b.mkv").read_bytes()
    (tmp_path / "wave" / "a.mp4").write_bytes(b"no video")
    dataset = open_dataset(ACTIONS, str(tmp_path), spec(1, 5, 3, 6, 18, labels=("wave",)))
    broken, good = dataset.examples
    assert len(whole) > 1000
    with pytest.raises(InputError, match=r"a\.mp4: not readable as a video") as refusal:
        broken.load()
    assert str(refusal.value).count("a.mp4") == 1
    loaded = good.load()
    assert frames(loaded) == [20, 60, 100, 140, 180]
    assert torch.equal((loaded.inputs[0, :, 2] * 255).round().int(), 255 - (loaded.inputs[0, :, 0] * 255).round().int())
    slower = open_dataset(ACTIONS, str(tmp_path), spec(1, 20, 3, 6, 18, labels=("wave",))).examples[1].load()
    assert frames(slower) == [20 * (i // 2) for i in range(20)]
    assert "10 frames, the network takes 20" in slower.remarks[0]
