"""Which dimension of an input is what."""

import pytest

from legodnn.shared.vision.layouts import channels, usual_layout


@pytest.mark.parametrize(("shape", "layout", "count"), [
    ((1, 3, 32, 24), "NCHW", 3), ((1, 1, 28, 28), "NCHW", 1), ((1, 10), "NCHW", 10), ((1,), "NCHW", 0),
    ((1, 8, 3, 32, 32), "NTCHW", 3), ((1, 3, 16, 112, 112), "NCTHW", 3), ((1, 1, 16, 8, 8), "NCTHW", 1),
    ((1, 3, 3, 8, 8), "NTCHW", 3), ((1, 1, 3, 8, 8), "NTCHW", 3), ((1, 5, 7, 8, 8), "NTCHW", 7),
])  # fmt: skip
def test_the_usual_layout_and_its_channels(shape, layout, count):
    assert usual_layout(shape) == layout
    assert channels(layout, shape) == count
