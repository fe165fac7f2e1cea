"""Which dimension of an input is what, and which frames of a long clip are taken."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from legodnn.shared.vision.clips import channels, spread, usual_layout


@pytest.mark.parametrize(("shape", "layout", "count"), [
    ((1, 3, 32, 24), "NCHW", 3), ((1, 1, 28, 28), "NCHW", 1), ((1, 10), "NCHW", 10), ((1,), "NCHW", 0),
    ((1, 8, 3, 32, 32), "NTCHW", 3), ((1, 3, 16, 112, 112), "NCTHW", 3), ((1, 1, 16, 8, 8), "NCTHW", 1),
    ((1, 3, 3, 8, 8), "NTCHW", 3), ((1, 1, 3, 8, 8), "NTCHW", 3), ((1, 5, 7, 8, 8), "NTCHW", 7),
])  # fmt: skip
def test_the_usual_layout_and_its_channels(shape, layout, count):
    assert usual_layout(shape) == layout
    assert channels(layout, shape) == count


def test_frames_are_spread_evenly():
    assert spread(8, 8) == list(range(8))
    assert spread(16, 4) == [2, 6, 10, 14]
    assert spread(9, 3) == [1, 4, 7]
    assert spread(2, 4) == [0, 0, 1, 1]


@given(st.integers(1, 500), st.integers(1, 64))
def test_spread_frames_are_there_in_order_and_none_twice_where_there_are_enough(count, wanted):
    found = spread(count, wanted)
    assert len(found) == wanted
    assert found == sorted(found)
    assert 0 <= found[0] <= found[-1] < count
    assert count < wanted or len(set(found)) == wanted
    assert found[0] == pytest.approx(count - 1 - found[-1], abs=1)
