"""The small parts of a report: axes, points picked out of many, and the lanes of the network's drawing."""

import pytest

from legodnn.builder.graph.resources import Resources
from legodnn.builder.report.chart import axis
from legodnn.builder.report.network import Drawing
from legodnn.builder.report.selections import spread
from legodnn.builder.report.summary import SegmentSummary


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


def test_values_that_pass_by_segments_at_once_have_lanes_of_their_own():
    reads = [[-1], [0], [1], [0, 2], [1, 3], [0, 4]]
    size = Resources(1, 4, 2, 4)
    drawn = Drawing([SegmentSummary(f"s{i}", True, [], row, size, 4) for i, row in enumerate(reads)])
    starts = [path.split(" V")[0].split(" Q")[1].split()[0] for path in drawn.bypasses]
    assert len(starts) == 3
    assert len(set(starts)) == 3
