"""The small parts of a report: axes, texts, and points picked out of many."""

import pytest

from legodnn.builder.report.chart import axis
from legodnn.builder.report.markup import element, to_bytes
from legodnn.builder.report.selections import spread


def test_spread_keeps_both_ends():
    assert spread(list(range(10)), 4) == [0, 3, 6, 9]
    assert spread([1, 2], 4) == [1, 2]


@pytest.mark.parametrize(("low", "high"), [(0.84, 0.91), (0.0, 1.0), (0.5, 0.5), (0.0, 0.0), (0.899, 0.9001)])
def test_axes_cover_what_they_show_with_a_few_round_ticks(low, high):
    made = axis("", low, high, 0.01)
    assert made.low <= low + 1e-9
    assert made.high >= high - 1e-9
    assert 2 <= len(made.ticks) <= 8
    assert all(abs(100 * value - float(text)) < 1e-6 for value, text in made.ticks)


def test_texts_and_attributes_are_escaped_and_elements_follow_each_other():
    made = element("p", "a<b", element("b", "&", title='"'), "c", None, class_="x", data_y=None)
    assert to_bytes(made) == b'<!doctype html>\n<p class="x">a&lt;b<b title="&quot;">&amp;</b>c</p>\n'
