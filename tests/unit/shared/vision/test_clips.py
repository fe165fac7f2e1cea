"""Which frames of a long clip are taken."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from legodnn.shared.vision.clips import spread


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
