"""Drawing: what is asked for is where it was asked for, and nothing else is."""

import io
import sys

import pytest

from legodnn.shared.errors import MissingExtra
from legodnn.shared.vision.drawing import Canvas, require_drawing

Image = pytest.importorskip("PIL.Image")
ImageFont = pytest.importorskip("PIL.ImageFont")

RED, BLUE = (255, 0, 0), (0, 0, 255)
NAN = float("nan")


def canvas(width=60, height=40, colour=(0, 0, 0)):
    return Canvas(width, height, bytes(colour) * (width * height))


def shown(made):
    return Image.open(io.BytesIO(made.png())).convert("RGB")


def coloured(made, colour=RED):
    """The places that have this colour."""
    image = shown(made)
    return {(x, y) for y in range(image.height) for x in range(image.width) if image.getpixel((x, y)) == colour}


def test_a_picture_has_its_pixels():
    made = Canvas(2, 1, bytes([*RED, *BLUE]))
    assert [shown(made).getpixel((x, 0)) for x in (0, 1)] == [RED, BLUE]


def test_a_box_is_an_outline_inside_its_sides():
    made = canvas()
    made.box(10, 5, 50, 35, RED)
    inside = {(x, y) for x in range(10, 50) for y in range(5, 35)}
    assert made.stroke == 3
    assert coloured(made) == inside - {(x, y) for x in range(13, 47) for y in range(8, 32)}


@pytest.mark.parametrize("sides", [(5, 5, 5, 20), (9, 5, 2, 20), (NAN, 5, 10, 20), (0, 0, 10, NAN), (70, 5, 90, 20)])
def test_a_box_without_an_area_in_the_picture_is_not_drawn(sides):
    made = canvas()
    made.box(*sides, RED)
    assert coloured(made) == set()


def test_boxes_are_cut_off_at_the_picture_s_edge_and_may_be_small():
    made = canvas()
    made.box(-1e30, -5, float("inf"), 1e9, RED)
    assert {(0, 0), (59, 39), (0, 20), (30, 0)} <= coloured(made)
    small = canvas()
    small.box(59.2, 39.2, 59.9, 39.9, RED)
    small.box(5, 5, 8, 7, BLUE)
    assert coloured(small) == {(59, 39)}
    assert coloured(small, BLUE) == {(x, y) for x in (5, 6, 7) for y in (5, 6)}


def test_small_pictures_are_enlarged_by_whole_factors_and_large_ones_shrunk():
    made = Canvas(2, 1, bytes([*RED, *BLUE]))
    made.resize_within(100, 200)
    assert (made.width, made.height) == (100, 50)
    assert coloured(made) == {(x, y) for x in range(50) for y in range(50)}
    large = canvas(500, 90, RED)
    large.resize_within(100, 200)
    assert (large.width, large.height) == (167, 30)
    kept = canvas(130, 20)
    kept.resize_within(100, 200)
    assert (kept.width, kept.height) == (130, 20)


def test_translucent_things_let_the_picture_through():
    made = canvas(colour=(0, 0, 200))
    made.dot(20, 20, (200, 0, 0), 0.5)
    assert shown(made).getpixel((20, 20)) == pytest.approx((100, 0, 100), abs=2)
    made.line((40, 5), (40, 35), (200, 0, 0), 0.0)
    assert shown(made).getpixel((40, 20)) == (0, 0, 200)


def test_classes_are_blended_over_the_whole_picture():
    made = canvas(4, 2, (100, 100, 100))
    made.blend(2, 1, bytes([1, 0]), [(0, 0, 0), (200, 0, 0)], 0.5)
    image = shown(made)
    assert {image.getpixel((x, y)) for x in (0, 1) for y in (0, 1)} == {(150, 50, 50)}
    assert {image.getpixel((x, y)) for x in (2, 3) for y in (0, 1)} == {(50, 50, 50)}


def test_pictures_on_a_sheet_stand_in_rows():
    made = Canvas.sheet([canvas(10, 10, c) for c in (RED, BLUE, RED)], 2, 3)
    assert (made.width, made.height) == (23, 23)
    assert coloured(made) == {(x, y) for x in range(10) for y in (*range(10), *range(13, 23))}
    assert min(coloured(made, BLUE)) == (13, 0)


@pytest.mark.parametrize("text", ["cat", "a name of many words that need more than one line", "x" * 300, "猫 é\u200d"])
def test_bars_are_beside_the_picture_and_as_wide(text):
    made = canvas(100, 40, RED)
    made.caption(text)
    before = made.height
    made.legend([(BLUE, text), (BLUE, text)])
    assert made.width == 100
    assert 40 < before < made.height
    top = min(y for _, y in coloured(made))
    assert coloured(made) == {(x, y) for x in range(100) for y in range(top, top + 40)}
    assert coloured(made, BLUE)
    assert min(y for _, y in coloured(made, BLUE)) >= before


def test_an_empty_bar_is_none():
    made = canvas()
    made.caption("")
    made.legend([])
    assert (made.width, made.height) == (60, 40)


@pytest.mark.parametrize("corner", [(5, 30), (5, 2), (59, 39), (-50, 1e9), (float("-inf"), float("-inf"))])
def test_a_tag_is_moved_into_the_picture(corner):
    made = canvas()
    made.tag(*corner, "cat", RED)
    places = coloured(made)
    assert len(places) > 100
    assert len({x for x, _ in places}) < 60


def test_words_are_written(monkeypatch):
    made = canvas()
    made.tag(5, 30, "cat", (255, 255, 255))
    assert coloured(made, (24, 24, 24))


@pytest.mark.parametrize("problem", [TypeError, ImportError])
def test_an_old_or_bare_pillow_has_a_font_too(monkeypatch, problem):
    whole = ImageFont.load_default

    def load_default(size=None):
        if size is not None:
            raise problem("no such font")
        return ImageFont.load_default_imagefont() if hasattr(ImageFont, "load_default_imagefont") else whole()

    monkeypatch.setattr(ImageFont, "load_default", load_default)
    made = canvas(100, 40)
    made.caption("cat 猫")
    assert coloured(made, (245, 245, 245))


def test_a_pillow_that_is_missing_or_too_old_is_named(monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(ImageFont, "ImageFont", object)
        with pytest.raises(MissingExtra, match=r"too old to draw with: pip install --upgrade pillow"):
            require_drawing()
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtra, match="drawing pictures needs it: pip install pillow"):
        canvas()
