"""Pixels become images by hand-computed values, and images become inputs as Pillow resizes them."""

import pytest
import torch

from legodnn.runtime.frames import coding
from legodnn.runtime.frames.pixels import PIXEL_FORMATS, PixelFormat, parse_size
from legodnn.shared.bundle.manifest import InputSpec
from legodnn.shared.errors import InputError, UsageError
from legodnn.shared.vision.preprocess import Fit


def spec(*shape, dtype="float32", layout="NCHW", mean=None, std=None):
    return InputSpec(shape, dtype, layout, mean, std, ())


def image(name, width, height, values):
    return PixelFormat(name, width, height).image(bytearray(values))


def near(found, expected, within=1e-6):
    assert found.shape == torch.tensor(expected).shape
    return torch.allclose(found, torch.tensor(expected, dtype=found.dtype), rtol=0, atol=within)


# ---- pixels -------------------------------------------------------------------------------------------------------
def test_rgb_and_bgr_are_three_bytes_a_pixel():
    values = [255, 51, 0, 0, 102, 255]  # two pixels beside each other
    assert near(image("rgb24", 2, 1, values), [[[1.0, 0.0]], [[0.2, 0.4]], [[0.0, 1.0]]])
    assert near(image("bgr24", 2, 1, values), [[[0.0, 1.0]], [[0.2, 0.4]], [[1.0, 0.0]]])


def test_rows_come_one_after_the_other():
    assert near(image("gray", 2, 2, [0, 51, 102, 255]), [[[0.0, 0.2], [0.4, 1.0]]])
    assert near(image("rgb24", 1, 2, [255, 0, 0, 0, 0, 255]), [[[1.0], [0.0]], [[0.0], [0.0]], [[0.0], [1.0]]])


@pytest.mark.parametrize(("name", "yuv", "rgb"), [
    # limited range: the values BT.601 gives for colour bars
    ("yuv420p", (16, 128, 128), (0, 0, 0)), ("yuv420p", (235, 128, 128), (1, 1, 1)),
    ("yuv420p", (81, 90, 240), (1, 0, 0)), ("yuv420p", (145, 54, 34), (0, 1, 0)),
    ("yuv420p", (41, 240, 110), (0, 0, 1)), ("yuv420p", (126, 128, 128), (0.5, 0.5, 0.5)),
    # full range: the values JPEG gives
    ("yuvj420p", (0, 128, 128), (0, 0, 0)), ("yuvj420p", (255, 128, 128), (1, 1, 1)),
    ("yuvj420p", (76, 85, 255), (1, 0, 0)), ("yuvj420p", (150, 44, 21), (0, 1, 0)),
    ("yuvj420p", (29, 255, 107), (0, 0, 1)),
    # beyond the range: cut off
    ("yuv420p", (255, 128, 128), (1, 1, 1)), ("yuv420p", (0, 128, 128), (0, 0, 0)),
])  # fmt: skip
def test_yuv_has_the_colours_of_its_standard(name, yuv, rgb):
    y, u, v = yuv
    found = image(name, 2, 2, [y] * 4 + [u, v])
    assert near(found, [[[c, c], [c, c]] for c in map(float, rgb)], 0.01)


def test_yuv_by_hand():
    """One value of each plane worked out with the standard's decimals."""
    [[red]], [[green]], [[blue]] = image("yuv420p", 2, 2, [100, 100, 100, 100, 110, 150])[:, :1, :1].tolist()
    y, blue_difference, red_difference = 84 / 219, -18 / 224, 22 / 224
    assert red == pytest.approx(y + 1.402 * red_difference, abs=1e-5)
    assert green == pytest.approx(y - 0.344136 * blue_difference - 0.714136 * red_difference, abs=1e-5)
    assert blue == pytest.approx(y + 1.772 * blue_difference, abs=1e-5)


def test_yuv_colours_belong_to_two_by_two_pixels():
    brightness = [126] * 8
    found = image("yuv420p", 4, 2, [*brightness, 90, 240, 240, 90])  # a reddish and a bluish pair, both 2 x 2
    red, _, blue = found
    assert torch.equal(found[:, :, 0], found[:, :, 1])
    assert torch.equal(found[:, 0], found[:, 1])
    assert torch.equal(found[:, :, 2], found[:, :, 3])
    assert red[0, 0] > blue[0, 0]
    assert red[0, 2] < blue[0, 2]


def test_gray_has_both_of_its_names():
    assert torch.equal(image("gray", 1, 1, [7]), image("gray8", 1, 1, [7]))


@pytest.mark.parametrize(("name", "size"), [
    ("rgb24", 36), ("bgr24", 36), ("gray", 12), ("gray8", 12), ("yuv420p", 18), ("yuvj420p", 18),
])  # fmt: skip
def test_frames_have_the_bytes_ffmpeg_writes(name, size):
    assert PixelFormat(name, 6, 2).frame_bytes == size
    assert image(name, 6, 2, bytes(size)).shape[1:] == (2, 6)


@pytest.mark.parametrize("size", [(3, 2), (2, 3)])
def test_yuv_of_odd_sizes_is_refused(size):
    for name in ("yuv420p", "yuvj420p"):
        with pytest.raises(UsageError, match="even sides"):
            PixelFormat(name, *size)
    assert PixelFormat("rgb24", *size).frame_bytes == 18


def test_sizes():
    assert parse_size("640x480") == (640, 480)
    for text in ("640", "640x", "x480", "640X480", "640x480x3", "-1x2", "6.5x2", " 6x2", "6x2\n", "٣x٣", ""):
        with pytest.raises(UsageError, match="like 640x480"):
            parse_size(text)
    for text in ("0x480", "640x0", "99999x1"):
        with pytest.raises(UsageError, match="from 1 to"):
            parse_size(text)


# ---- fit ----------------------------------------------------------------------------------------------------------
def test_values_are_normalised_per_channel():
    fit = Fit(spec(1, 3, 1, 1, mean=(0.5, 0.25, 0.0), std=(0.5, 0.25, 2.0)))
    assert near(fit(torch.tensor([1.0, 0.5, 0.5]).view(3, 1, 1)), [[[[1.0]], [[1.0]], [[0.25]]]])


def test_without_a_normalisation_values_stay_as_they_are():
    assert near(Fit(spec(1, 3, 1, 1))(torch.tensor([0.1, 0.5, 0.9]).view(3, 1, 1)), [[[[0.1]], [[0.5]], [[0.9]]]])


def test_colour_becomes_gray_by_brightness_and_gray_becomes_colour_by_repetition():
    colour = torch.tensor([1.0, 0.5, 0.25]).view(3, 1, 1)
    assert near(Fit(spec(1, 1, 1, 1))(colour), [[[[0.299 + 0.587 * 0.5 + 0.114 * 0.25]]]])
    assert near(Fit(spec(1, 3, 1, 1))(torch.full((1, 1, 1), 0.3)), [[[[0.3]], [[0.3]], [[0.3]]]])


def test_each_channel_is_normalised_after_repetition():
    fit = Fit(spec(1, 3, 1, 1, mean=(0.0, 0.1, 0.2), std=(1.0, 1.0, 1.0)))
    assert near(fit(torch.full((1, 1, 1), 0.3)), [[[[0.3]], [[0.2]], [[0.1]]]])


def test_shrinking_averages_over_all_pixels():
    """Stripes one pixel wide are gray from afar; without antialiasing they would be black or white."""
    stripes = torch.tensor([0.0, 1.0]).repeat(32).expand(1, 64, 64)
    found = Fit(spec(1, 1, 8, 8))(stripes)
    assert found[..., 1:-1].sub(0.5).abs().max() < 0.01


def test_the_whole_image_is_stretched():
    halves = torch.cat([torch.zeros(1, 10, 20), torch.ones(1, 10, 20)], 2)
    found = Fit(spec(1, 1, 4, 4))(halves)
    assert near(found[0, 0], [[0.0, 0.0, 1.0, 1.0]] * 4, 0.15)


@pytest.mark.parametrize("size", [(64, 48), (31, 57), (16, 16), (5, 7)])
def test_resizing_is_pillows(size):
    image_of = pytest.importorskip("PIL.Image")
    width, height = size
    generator = torch.Generator().manual_seed(1)
    data = bytearray(torch.randint(0, 256, (height * width * 3,), dtype=torch.uint8, generator=generator).tolist())
    mine = Fit(spec(1, 3, 16, 16))(PixelFormat("rgb24", width, height).image(data))[0]
    theirs = image_of.frombytes("RGB", size, bytes(data)).resize((16, 16), image_of.Resampling.BILINEAR)
    expected = torch.frombuffer(bytearray(theirs.tobytes()), dtype=torch.uint8).view(16, 16, 3).permute(2, 0, 1) / 255
    assert (mine - expected).abs().max() < 1.5 / 255  # Pillow rounds to bytes after each of two passes


def test_inputs_have_the_networks_dtype_and_shape():
    found = Fit(spec(4, 3, 6, 5, dtype="float64"))(torch.rand(3, 9, 9))
    assert (found.shape, found.dtype, found.is_contiguous()) == ((1, 3, 6, 5), torch.float64, True)


@pytest.mark.parametrize("other", [
    spec(1, 8, 3, 16, 16), spec(1, 4, 16, 16), spec(1, 10), spec(1, 3, 16, 16, layout="NHWC"),
    spec(1, 3, 16, 16, dtype="int64"),
])  # fmt: skip
def test_networks_that_take_no_images_refuse_pixels(other):
    with pytest.raises(InputError, match=r"no images of 1 or 3 channels; give it raw tensors \(--format tensor\)"):
        Fit(other)


def test_a_normalisation_for_another_number_of_channels_is_refused():
    with pytest.raises(InputError, match="mean has 2 numbers, its input 3 channels"):
        Fit(spec(1, 3, 4, 4, mean=(0.1, 0.2), std=(1.0,)))


# ---- coding -------------------------------------------------------------------------------------------------------
def test_tensors_are_taken_as_they_are():
    given = torch.arange(6, dtype=torch.int32)
    made = coding.tensors(spec(8, 2, 3, dtype="int32"))
    found = made.decode(bytearray(b"".join(v.to_bytes(4, "little") for v in given.tolist())))
    assert (made.text, made.frame_bytes) == ("2x3 int32", 24)
    assert torch.equal(found, given.view(1, 2, 3))


@pytest.mark.parametrize("name", PIXEL_FORMATS)
def test_pictures_become_inputs(name):
    pixels = PixelFormat(name, 8, 6)
    made = coding.pictures(pixels, Fit(spec(1, 3, 16, 16)))
    assert made.text == f"8x6 {name}"
    assert made.decode(bytearray(made.frame_bytes)).shape == (1, 3, 16, 16)
