"""Frames from files, pipes, folders and bundles, one at a time."""

import contextlib
import dataclasses
import os
import sys
import threading

import pytest
import torch

from legodnn.runtime.frames import coding
from legodnn.runtime.frames.folder import Folder
from legodnn.runtime.frames.opening import open_source
from legodnn.runtime.frames.pixels import PixelFormat
from legodnn.runtime.frames.samples import Samples
from legodnn.runtime.frames.stream import Stream
from legodnn.shared.bundle.manifest import InputSpec
from legodnn.shared.errors import InputError, MissingExtra, UsageError
from legodnn.shared.vision.preprocess import Fit

SPEC = InputSpec((1, 4), "uint8", "NCHW", None, None, ())
IMAGES = InputSpec((1, 3, 2, 2), "float32", "NCHW", None, None, ())


def values(source, **options):
    return [frame.load()[0].flatten().tolist() for frame in source.frames(**options)]


# ---- streams ------------------------------------------------------------------------------------------------------
def test_a_files_frames_in_order(tmp_path):
    (tmp_path / "x.raw").write_bytes(bytes(range(8)))
    stream = Stream(str(tmp_path / "x.raw"), coding.tensors(SPEC))
    assert not stream.live
    assert values(stream) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    stream.close()


@pytest.fixture
def pipe(tmp_path):
    """A named pipe's stream, and the file descriptor to write to."""
    path = str(tmp_path / "pipe")
    os.mkfifo(path)
    both = os.open(path, os.O_RDWR)  # so that opening one end does not wait for the other
    stream = Stream(path, coding.tensors(SPEC))
    writer = os.open(path, os.O_WRONLY)
    os.close(both)
    yield stream, writer
    stream.close()


def test_a_pipes_frames_are_whole_however_they_arrive(pipe):
    stream, writer = pipe
    assert stream.live
    frames = stream.frames()
    os.write(writer, b"\0\1")
    threading.Timer(0.05, os.write, (writer, b"\2\3\4")).start()
    assert next(frames).load()[0].tolist() == [[0, 1, 2, 3]]
    os.write(writer, b"\5\6\7")
    os.close(writer)
    assert [f.load()[0].tolist() for f in frames] == [[[4, 5, 6, 7]]]


def test_nothing_is_read_ahead(pipe):
    stream, writer = pipe
    os.write(writer, bytes(12))
    frames = stream.frames()
    next(frames)
    os.close(writer)
    assert os.read(stream._file.fileno(), 100) == bytes(8)


def test_a_pipe_that_was_made_non_blocking_is_waited_for(pipe):
    stream, writer = pipe
    os.set_blocking(stream._file.fileno(), False)
    threading.Timer(0.05, lambda: (os.write(writer, b"abcd"), os.close(writer))).start()
    assert values(stream) == [list(b"abcd")]


@pytest.mark.parametrize("begun", [b"", b"ab"])
def test_a_stream_that_waits_is_woken(pipe, begun):
    stream, writer = pipe
    os.write(writer, begun)
    wake, waker = os.pipe()
    threading.Timer(0.05, os.close, (waker,)).start()
    assert values(stream, wake=wake) == []
    os.close(wake)
    os.close(writer)


@pytest.mark.parametrize(("data", "reason"), [
    (b"", "x.raw: no frames; a 4 uint8 frame has 4 bytes"),
    (bytes(3), "x.raw: frame 0 has 3 bytes, a 4 uint8 frame has 4"),
    (bytes(9), "x.raw: frame 2 has 1 bytes, a 4 uint8 frame has 4"),
])  # fmt: skip
def test_streams_that_end_within_a_frame_are_refused(tmp_path, data, reason):
    path = tmp_path / "x.raw"
    path.write_bytes(data)
    with pytest.raises(InputError, match=reason), contextlib.closing(Stream(str(path), coding.tensors(SPEC))) as stream:
        values(stream)


def test_a_file_too_small_for_a_frame_is_refused_when_it_is_opened(tmp_path):
    (tmp_path / "x.raw").write_bytes(bytes(3))
    with pytest.raises(InputError, match="frame 0 has 3 bytes"):
        Stream(str(tmp_path / "x.raw"), coding.tensors(SPEC))


def test_standard_input_that_cannot_be_read_is_refused(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(UsageError, match="standard input is closed"):
        Stream("-", coding.tensors(SPEC))
    other_end, terminal = os.openpty()
    with open(terminal) as file:
        monkeypatch.setattr(sys, "stdin", file)
        with pytest.raises(UsageError, match="is a terminal"):
            Stream("-", coding.tensors(SPEC))
    os.close(other_end)


# ---- folders ------------------------------------------------------------------------------------------------------
@pytest.fixture
def folder(tmp_path):
    image = pytest.importorskip("PIL.Image")
    for name, colour in {"b.png": (255, 0, 0), "a.PNG": (0, 51, 0), "c.bmp": (0, 0, 255)}.items():
        image.new("RGB", (3, 5), colour).save(tmp_path / name)
    (tmp_path / ".hidden.png").write_bytes(b"")
    (tmp_path / "notes.txt").write_bytes(b"")
    (tmp_path / "more.png").mkdir()
    return tmp_path


def test_a_folders_images_by_name(folder):
    frames = list(Folder(str(folder), Fit(IMAGES)).frames())
    assert [(f.number, f.name) for f in frames] == [(0, "a.PNG"), (1, "b.png"), (2, "c.bmp")]
    corner = [f.load()[0][0, :, 0, 0] for f in frames]
    assert torch.allclose(torch.stack(corner), torch.tensor([[0, 0.2, 0], [1, 0, 0], [0, 0, 1.0]]))


def test_a_broken_file_fails_alone_and_by_name(folder):
    (folder / "aa.jpg").write_bytes(b"no image")
    frames = list(Folder(str(folder), Fit(IMAGES)).frames())
    assert [f.name for f in frames] == ["a.PNG", "aa.jpg", "b.png", "c.bmp"]
    with pytest.raises(InputError, match=r"aa\.jpg: not readable"):
        frames[1].load()
    assert frames[2].load()[0].shape == (1, 3, 2, 2)


def test_folders_without_images_or_pillow_are_refused(tmp_path, monkeypatch):
    pytest.importorskip("PIL.Image")
    (tmp_path / "notes.txt").write_bytes(b"")
    with pytest.raises(InputError, match="no images in this folder"):
        Folder(str(tmp_path), Fit(IMAGES))
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtra, match="pip install pillow"):
        Folder(str(tmp_path), Fit(IMAGES))


# ---- samples ------------------------------------------------------------------------------------------------------
def test_a_bundles_samples_with_their_labels(network):
    inputs, labels = network.samples()
    once = list(Samples(network).frames())
    assert [f.label for f in once] == list(labels)
    assert torch.equal(torch.cat([f.load()[0] for f in once]), inputs[0])


def test_samples_may_repeat(network):
    frames = Samples(network, repeat=True).frames()
    taken = [next(frames) for _ in range(8)]
    assert [f.number for f in taken] == list(range(8))
    assert torch.equal(taken[7].load()[0], taken[1].load()[0])
    assert taken[7].label == taken[1].label


# ---- opening ------------------------------------------------------------------------------------------------------
def test_sources_are_known_by_what_they_are(folder, network):
    (folder / "notes.txt").write_bytes(bytes(3 * 16 * 16 * 4))
    assert isinstance(open_source(str(folder), network), Folder)
    with_tensors = open_source(str(folder / "notes.txt"), network)
    assert with_tensors.coding.text == "3x16x16 float32"
    with_pixels = open_source(str(folder / "notes.txt"), network, PixelFormat("gray", 4, 2))
    assert with_pixels.coding.text == "4x2 gray"
    with_tensors.close()
    with_pixels.close()


def test_a_network_with_several_inputs_is_given_no_frames(network, monkeypatch, tmp_path):
    monkeypatch.setattr(network, "manifest", dataclasses.replace(network.manifest, network_inputs=("a", "b")))
    with pytest.raises(InputError, match="takes 2 inputs at once"):
        open_source(str(tmp_path), network)


def test_a_network_that_takes_no_images_is_given_none(network, monkeypatch, tmp_path):
    other = dataclasses.replace(network.input, shape=(1, 8, 16, 16))
    monkeypatch.setattr(network, "manifest", dataclasses.replace(network.manifest, input=other))
    for pixels in (None, PixelFormat("rgb24", 4, 4)):
        with pytest.raises(InputError, match="takes 8x16x16 float32, no images"):
            open_source(str(tmp_path), network, pixels)
