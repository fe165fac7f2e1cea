"""Many names in one line."""

from legodnn.shared.naming import few

NAMES = [f"n{i}" for i in range(2000)]


def test_the_first_names_are_there_and_the_rest_is_counted():
    assert few([]) == ""
    assert few(NAMES[:6]) == "n0, n1, n2, n3, n4, n5"
    assert few(NAMES[:7]) == "n0, n1, n2, n3, n4, n5 and 1 more"
    assert few(NAMES, 2) == "n0, n1 and 1,998 more"
