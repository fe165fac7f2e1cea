"""Clips from folders and streams, for networks that take them."""

import os
import sys
import threading

import pytest
import torch

from legodnn.runtime.frames.coding import pictures
from legodnn.runtime.frames.folder import ClipFolder
from legodnn.runtime.frames.pacing import Latest
from legodnn.runtime.frames.pixels import PixelFormat
from legodnn.runtime.frames.stream import Stream
from legodnn.runtime.frames.window import Window
from legodnn.shared.bundle.manifest import InputSpec
from legodnn.shared.errors import InputError, MissingExtra
from legodnn.shared.vision.clips import ClipFit, takes_clips

GRAY = PixelFormat("gray", 2, 2)


def spec(shape, layout, **options):
    return InputSpec(shape, "float32", layout, options.get("mean"), options.get("std"), ())


FIT = ClipFit(spec((1, 4, 1, 2, 2), "NTCHW"))


def brightness(frame):
    """The brightness of each of a clip's frames, from 0 to 255."""
    [clip] = frame.load()
    return [round(float(image.mean()) * 255) for image in FIT.split(clip)]


def write_images(folder, values):
    image_of = pytest.importorskip("PIL.Image")
    folder.mkdir(parents=True, exist_ok=True)
    for number, value in enumerate(values):
        image_of.new("L", (5, 3), value).save(folder / f"{number:03d}.png")


# ---- inputs -------------------------------------------------------------------------------------------------------
def test_which_networks_take_clips():
    assert takes_clips(spec((1, 4, 3, 8, 8), "NTCHW"))
    assert takes_clips(spec((1, 3, 4, 8, 8), "NCTHW"))
    assert not takes_clips(spec((1, 3, 8, 8), "NCHW"))
    assert not takes_clips(spec((1, 4, 3, 8, 8), "NCHW"))
    assert not takes_clips(spec((1, 3, 8, 8), "NTCHW"))


@pytest.mark.parametrize(("shape", "layout", "time"), [((1, 4, 3, 6, 5), "NTCHW", 1), ((1, 3, 4, 6, 5), "NCTHW", 2)])
def test_frames_are_joined_in_the_networks_layout_and_normalised(shape, layout, time):
    fit = ClipFit(spec(shape, layout, mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.2)))
    frames = torch.rand(4, 3, 6, 5)
    clip = fit.join([fit.fit(frame) for frame in frames])
    assert (fit.length, clip.shape, clip.is_contiguous()) == (4, torch.Size(shape), True)
    wanted = (frames - torch.tensor((0.5, 0.4, 0.3)).view(3, 1, 1)) / 0.2
    assert torch.allclose(clip[0].movedim(time - 1, 0), wanted, atol=1e-5)
    assert torch.equal(torch.cat(fit.split(clip)), clip[0].movedim(time - 1, 0))
    assert torch.allclose(fit.fit.undo(fit.split(clip)[2]), frames[2], atol=1e-6)


def test_frames_that_are_no_images_are_refused():
    with pytest.raises(InputError, match="no images of 1 or 3 channels"):
        ClipFit(spec((1, 8, 5, 4, 4), "NTCHW"))


# ---- folders ------------------------------------------------------------------------------------------------------
def test_every_folder_is_a_clip_its_frames_spread_evenly(tmp_path):
    write_images(tmp_path / "walk", range(0, 80, 10))
    write_images(tmp_path / "run", [1, 2, 3, 4])
    (tmp_path / "empty").mkdir()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "notes.txt").write_text("no image")
    frames = list(ClipFolder(str(tmp_path), FIT).frames())
    assert [(f.number, f.name) for f in frames] == [(0, "run"), (1, "walk")]
    assert [brightness(f) for f in frames] == [[1, 2, 3, 4], [10, 30, 50, 70]]


def test_a_folder_of_images_is_one_clip(tmp_path, monkeypatch):
    write_images(tmp_path / "walk", [5, 6, 7, 8])
    monkeypatch.chdir(tmp_path / "walk")
    for path in (str(tmp_path / "walk"), f"{tmp_path / 'walk'}{os.sep}", "."):
        [frame] = ClipFolder(path, FIT).frames()
        assert frame.name == "walk"
        assert brightness(frame) == [5, 6, 7, 8]


def test_of_a_short_clip_some_frames_come_twice_and_a_broken_one_fails_when_it_is_loaded(tmp_path):
    write_images(tmp_path / "a", [10, 20])
    write_images(tmp_path / "b", [1, 2, 3, 4])
    (tmp_path / "b" / "002.png").write_bytes(b"no image")
    short, broken = ClipFolder(str(tmp_path), FIT).frames()
    assert brightness(short) == [10, 10, 20, 20]
    with pytest.raises(InputError, match=r"002.png: not readable as an image"):
        broken.load()


def test_folders_that_hold_no_clips_or_not_only_clips_are_refused(tmp_path):
    with pytest.raises(InputError, match="no images in this folder, nor in those inside it"):
        ClipFolder(str(tmp_path), FIT)
    write_images(tmp_path / "a", [1])
    write_images(tmp_path, [1])
    with pytest.raises(InputError, match="both images and folders of images"):
        ClipFolder(str(tmp_path), FIT)
    with pytest.raises(FileNotFoundError):
        ClipFolder(str(tmp_path / "none"), FIT)


def test_clips_in_folders_need_pillow(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtra, match="pip install pillow"):
        ClipFolder(str(tmp_path), FIT)


# ---- windows over streams -----------------------------------------------------------------------------------------
@pytest.fixture
def window(tmp_path):
    """Makes a window over frames of these brightnesses."""
    made = []

    def make(values, fit=FIT):
        (tmp_path / "x.raw").write_bytes(b"".join(bytes([v] * 4) for v in values))
        made.append(Window(Stream(str(tmp_path / "x.raw"), pictures(GRAY, fit.fit)), fit))
        return made[-1]

    yield make
    for source in made:
        source.close()


@pytest.mark.parametrize(("count", "clips"), [
    (4, [[0, 1, 2, 3]]), (5, [[0, 1, 2, 3]]), (6, [[0, 1, 2, 3], [2, 3, 4, 5]]),
    (9, [[0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 6, 7]]),
])  # fmt: skip
def test_a_window_is_given_again_once_half_of_its_frames_are_new(window, count, clips):
    source = window(range(count))
    frames = list(source.frames())
    assert not source.live
    assert [f.number for f in frames] == list(range(len(clips)))
    assert [brightness(f) for f in frames] == clips


def test_clips_of_one_frame_are_that_frame(window):
    fit = ClipFit(spec((1, 1, 1, 2, 2), "NTCHW"))
    assert [brightness(f) for f in window(range(3), fit).frames()] == [[0], [1], [2]]


def test_a_stream_too_short_for_one_clip_is_refused(window):
    with pytest.raises(InputError, match=r"x.raw: 3 frames, a clip of this network has 4"):
        list(window(range(3)).frames())


def test_a_live_window_can_be_stopped_before_its_first_clip(tmp_path):
    path = str(tmp_path / "pipe")
    os.mkfifo(path)
    both = os.open(path, os.O_RDWR)
    source = Window(Stream(path, pictures(GRAY, FIT.fit)), FIT)
    os.write(both, bytes(4))
    found = []
    with Latest(source, 100.0) as pace:
        threading.Timer(0.1, pace.stop).start()
        found += pace
    wake, waker = os.pipe()
    os.close(waker)
    assert source.live
    assert found == list(source.frames(wake)) == []
    for number in (wake, both):
        os.close(number)
    source.close()
