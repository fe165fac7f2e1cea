"""The report as a browser shows it: light and dark, on a wide screen and on a telephone, and on paper."""

import io
import re

import pytest
from PIL import Image

from legodnn.builder.__main__ import main
from tests.browser import Browser, find_browser
from tests.unit.builder.conftest import modules_forgotten
from tests.unit.builder.report.reports import SETTINGS, telling_folder

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_browser() is None, reason="no Chromium here; install one, or name it in LEGODNN_BROWSER"),
]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = telling_folder(tmp_path_factory.mktemp("shown"))
    with modules_forgotten(folder.path):
        assert main([str(folder.recipe), "-o", str(folder.path / "small.lgb"), *SETTINGS]) == 0
    return folder.path / "small.report.html"


@pytest.fixture(scope="module")
def browser():
    with Browser(find_browser()) as started:
        yield started


def brightness(colour):
    return sum(colour[:3]) / 3


@pytest.mark.parametrize("width", [360, 800, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("unfold", [False, True])
def test_it_fits_the_screen_and_nothing_is_wrong_with_it(browser, report, width, scheme, unfold):
    seen = browser.look(report, width, scheme, unfold)
    assert seen.complaints == []
    assert seen.requests == [report.as_uri()]
    assert seen.screen_width == width
    assert seen.content_width == width
    wide = """[...document.querySelectorAll('body *')]
        .filter(e => !e.closest('.scroll > *') && !e.closest('svg > *'))
        .filter(e => e.getBoundingClientRect().right > innerWidth + 0.5).map(e => e.outerHTML.slice(0, 80))"""
    assert browser.evaluate(wide) == []
    picture = Image.open(io.BytesIO(seen.picture)).convert("RGB")
    assert picture.width == width
    colours = picture.getcolors(1 << 24)
    (_, paper), *_ = sorted(colours, reverse=True)
    assert (brightness(paper) > 200) == (scheme == "light")
    assert len(colours) > 100
    assert any(b > r + 60 for _, (r, _, b) in colours), "the frontier is blue"
    assert any(r > b + 100 for _, (r, _, b) in colours), "the baseline is orange"


def test_text_in_charts_can_be_read_on_a_telephone(browser, report):
    browser.look(report, 360)
    sizes = browser.evaluate(
        "[...document.querySelectorAll('svg.chart')].map(s => parseFloat(getComputedStyle(s).fontSize)"
        " * s.getBoundingClientRect().width / s.viewBox.baseVal.width)"
    )
    assert min(sizes) > 9.5


def test_labels_in_charts_lie_inside_and_do_not_overlap(browser, report):
    for width in (360, 1280):
        browser.look(report, width)
        boxes = browser.evaluate(
            "[...document.querySelectorAll('svg.chart')].map(s => { const f = s.getBoundingClientRect();"
            " return [...s.querySelectorAll('text')].map(t => { const b = t.getBoundingClientRect();"
            " return [b.left - f.left, b.top - f.top, b.right - f.right, b.bottom - f.bottom, b.left, b.top, b.right,"
            " b.bottom, t.textContent]; }); })"
        )
        for chart in boxes:
            for left, top, right, bottom, *_, text in chart:
                assert left >= -1, text
                assert top >= -2, text
                assert right <= 1, text
                assert bottom <= 2, text
            placed = [row[4:] for row in chart]
            for i, (l1, t1, r1, b1, text) in enumerate(placed):
                for l2, t2, r2, b2, other in placed[:i]:
                    apart = r1 <= l2 + 1 or r2 <= l1 + 1 or b1 <= t2 + 4 or b2 <= t1 + 4
                    assert apart, (width, text, other)


def test_paper_is_white_whatever_the_screen_is(browser, report):
    seen = browser.look(report, 800, "dark", media="print")
    assert brightness(Image.open(io.BytesIO(seen.picture)).convert("RGB").getpixel((1, 1))) == 255
    printed = browser.print()
    assert printed.startswith(b"%PDF-")
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) >= 1
