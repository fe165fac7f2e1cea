"""Times and sizes as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from legodnn.shared.errors import UnitError
from legodnn.shared.units import format_bytes, format_seconds, parse_bytes, parse_seconds, signed_points


@pytest.mark.parametrize(("text", "seconds"), [
    ("5ms", 0.005), ("1.5 s", 1.5), ("200us", 2e-4), ("1min", 60), (" 3 MS ", 0.003), ("1e-3s", 1e-3), (".5s", 0.5),
])  # fmt: skip
def test_times(text, seconds):
    assert parse_seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize(("text", "count"), [
    ("4.5MiB", 4.5 * 2**20), ("10 MB", 10**7), ("512B", 512), ("3kB", 3000), ("1GiB", 2**30), ("2kib", 2048),
])  # fmt: skip
def test_sizes(text, count):
    assert parse_bytes(text) == count


@pytest.mark.parametrize("text", [
    "", "5", "ms", "-5ms", "0ms", "nan ms", "inf s", "5 parsecs", "5 ms ms", "1e999s", "5,5ms", "--5ms", "1.2.3s",
])  # fmt: skip
def test_what_is_no_time_is_refused_with_an_example(text):
    with pytest.raises(UnitError, match="5ms"):
        parse_seconds(text)


def test_a_time_is_no_size():
    with pytest.raises(UnitError, match=r"unknown unit 'ms'.*4\.5MiB"):
        parse_bytes("5ms")


@pytest.mark.parametrize(("share", "text"), [
    (-0.0043, "-0.43"), (0.0043, "+0.43"), (0.0, "0.00"), (-0.00004, "0.00"), (0.5, "+50.00"),
])  # fmt: skip
def test_a_difference_in_points_has_its_sign(share, text):
    assert signed_points(share) == text


@pytest.mark.parametrize(("seconds", "text"), [
    (4.9312e-3, "4.93 ms"), (9.996e-4, "1 ms"), (0.9996, "1 s"), (9.99e-4, "999 us"), (119.0, "119 s"),
    (150.0, "2.5 min"), (7000.0, "117 min"), (9000.0, "2.5 h"),
])  # fmt: skip
def test_times_have_a_fitting_unit(seconds, text):
    assert format_seconds(seconds) == text


@given(st.floats(1e-6, 1e5))
def test_times_survive_being_shown(seconds):
    assert parse_seconds(format_seconds(seconds)) == pytest.approx(seconds, rel=0.006)


@given(st.integers(1, 2**40))
def test_sizes_survive_being_shown(count):
    assert parse_bytes(format_bytes(count)) == pytest.approx(count, rel=0.006, abs=1)
