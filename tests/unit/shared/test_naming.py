"""Names in messages."""

from legodnn.shared.naming import closest, few, hint

NAMES = [f"n{i}" for i in range(2000)]


def test_the_first_names_are_there_and_the_rest_is_counted():
    assert few([]) == ""
    assert few(NAMES[:6]) == "n0, n1, n2, n3, n4, n5"
    assert few(NAMES[:7]) == "n0, n1, n2, n3, n4, n5 and 1 more"
    assert few(NAMES, 2) == "n0, n1 and 1,998 more"


def test_the_name_that_was_probably_meant_is_told():
    assert closest("blokcs", ["model", "blocks"]) == "blocks"
    assert closest("xyz", ["model", "blocks"]) is None
    assert hint("blokcs", ["model", "blocks"]) == "; did you mean 'blocks'?"
    assert hint("xyz", {}) == ""
