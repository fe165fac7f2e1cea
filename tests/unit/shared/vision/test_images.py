"""Image files become pixels, the right way up; what is no image is refused by name."""

import io
import sys

import pytest

from legodnn.shared.errors import InputError, MissingExtra
from legodnn.shared.vision.images import IMAGE_SUFFIXES, read_image, require_pillow

Image = pytest.importorskip("PIL.Image")

RED, BLUE = (255, 0, 0), (0, 0, 255)
ORIENTATION = 0x0112


def two_pixels():
    """Red on the left, blue on the right."""
    image = Image.new("RGB", (2, 1))
    image.putdata([RED, BLUE])
    return image


def test_pixels_come_row_by_row(tmp_path):
    image = Image.new("RGB", (2, 2))
    image.putdata([(1, 2, 3), (4, 5, 6), (7, 8, 9), (10, 11, 12)])
    image.save(tmp_path / "x.png")
    assert read_image(str(tmp_path / "x.png")) == (2, 2, bytes(range(1, 13)))


@pytest.mark.parametrize(("mode", "colour", "expected"), [
    ("L", 9, bytes([9, 9, 9])), ("RGBA", (1, 2, 3, 255), bytes([1, 2, 3])), ("1", 1, bytes([255] * 3)),
])  # fmt: skip
def test_other_kinds_of_images_become_rgb(tmp_path, mode, colour, expected):
    Image.new(mode, (1, 1), colour).save(tmp_path / "x.png")
    assert read_image(str(tmp_path / "x.png")) == (1, 1, expected)


def test_the_first_picture_of_an_animation_is_taken(tmp_path):
    first, second = (Image.new("RGB", (1, 1), colour) for colour in (RED, BLUE))
    first.save(tmp_path / "x.gif", save_all=True, append_images=[second])
    assert read_image(str(tmp_path / "x.gif")) == (1, 1, bytes(RED))


@pytest.mark.parametrize(("orientation", "size", "pixels"), [
    (1, (2, 1), [RED, BLUE]), (3, (2, 1), [BLUE, RED]), (6, (1, 2), [RED, BLUE]), (8, (1, 2), [BLUE, RED]),
])  # fmt: skip
def test_images_are_turned_the_right_way_up(tmp_path, orientation, size, pixels):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    two_pixels().save(tmp_path / "x.png", exif=exif)
    assert read_image(str(tmp_path / "x.png")) == (*size, bytes(sum(pixels, ())))


def jpeg():
    buffer = io.BytesIO()
    Image.effect_noise((64, 64), 90).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.mark.parametrize(("data", "reason"), [
    (b"", "cannot identify image file"), (b"no image", "cannot identify image file"), (jpeg()[:900], "truncated"),
])  # fmt: skip
def test_what_is_no_whole_image_is_refused_by_name(tmp_path, data, reason):
    (tmp_path / "x.jpg").write_bytes(data)
    with pytest.raises(InputError, match=f"x.jpg: not readable as an image .*{reason}") as refusal:
        read_image(str(tmp_path / "x.jpg"))
    assert str(refusal.value).count("x.jpg") == 1
    assert "\n" not in str(refusal.value)


def test_a_damaged_png_is_refused_whatever_the_decoder_raises(tmp_path):
    buffer = io.BytesIO()
    Image.effect_noise((16, 16), 90).save(buffer, "PNG")
    whole = buffer.getvalue()
    for place in range(8, len(whole), 7):
        (tmp_path / "x.png").write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
        try:
            width, height, pixels = read_image(str(tmp_path / "x.png"))
        except InputError:
            continue
        assert len(pixels) == 3 * width * height


def test_more_than_eight_bits_are_refused_rather_than_clipped(tmp_path):
    Image.new("I;16", (1, 1), 1000).save(tmp_path / "x.png")
    with pytest.raises(InputError, match="more than 8 bits"):
        read_image(str(tmp_path / "x.png"))


def test_a_missing_pillow_is_named_with_the_way_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtra, match="pip install pillow"):
        require_pillow()
    with pytest.raises(MissingExtra, match="pip install pillow"):
        read_image("x.png")


def test_suffixes_are_ones_pillow_reads():
    Image.init()
    assert {Image.registered_extensions()[suffix] for suffix in IMAGE_SUFFIXES} <= set(Image.OPEN)
