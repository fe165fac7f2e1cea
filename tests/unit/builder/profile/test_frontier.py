"""The selections that are measured: the best for their bytes, closer together where bytes are few, and the baseline."""

import pytest

from legodnn.builder.profile.frontier import frontier, undominated, uniform

COSTS = {"a": {"original": 0.0, "s": 0.2, "t": 0.9}, "b": {"original": 0.0, "s": 0.1, "t": 0.15}}
SIZES = {"a": {"original": 100.0, "s": 60.0, "t": 20.0}, "b": {"original": 50.0, "s": 30.0, "t": 10.0}}


def value(table, selection):
    return sum(table[block][variant] for block, variant in selection.items())


def test_the_frontier_starts_at_the_smallest_and_no_selection_on_it_is_beaten():
    selections = frontier(COSTS, SIZES, 6)
    assert selections[0] == {"a": "t", "b": "t"}
    everything = [{"a": a, "b": b} for a in COSTS["a"] for b in COSTS["b"]]
    for found in selections:
        no_larger = [s for s in everything if value(SIZES, s) <= value(SIZES, found)]
        assert min(value(COSTS, s) for s in no_larger) == value(COSTS, found)


@pytest.mark.parametrize("count", [1, 3, 20])
def test_the_frontier_names_no_selection_twice(count):
    selections = frontier(COSTS, SIZES, count)
    assert len(selections) == len({tuple(s.items()) for s in selections}) <= count


@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e9], ids="{:g}".format)
def test_selections_are_the_largest_within_goals_that_are_closer_together_where_bytes_are_few(unit):
    """One block with a variant for every size from 20 to 120, each next byte of less use."""
    sizes = {"a": {f"{size}": float(size) for size in range(20, 121)}}
    costs = {"a": {name: unit * (120 - size) ** 2 for name, size in sizes["a"].items()}}
    found = [int(selection["a"]) for selection in frontier(costs, sizes, 5)]
    assert found == [20, 24, 36, 56, 84]


def test_of_two_blocks_the_bytes_go_where_they_are_of_most_use():
    """A byte more in ``b`` is worth ten in ``a``: it is original before ``a`` gets any."""
    sizes = {name: {f"{size}": float(size) for size in range(11)} for name in "ab"}
    costs = {"a": {v: 10.0 - s for v, s in sizes["a"].items()}, "b": {v: 100.0 - 10 * s for v, s in sizes["b"].items()}}
    assert {(s["a"], s["b"]) for s in frontier(costs, sizes, 9)} == {("0", "0"), ("0", "10")}


def test_equal_distortions_take_the_smaller_variant():
    costs, sizes = {"a": {"x": 0.5, "y": 0.5, "z": 0.1}}, {"a": {"x": 9.0, "y": 3.0, "z": 10.0}}
    assert {s["a"] for s in frontier(costs, sizes, 8)} == {"y"}


def test_the_baseline_has_each_variant_in_every_block_that_has_it():
    costs = {"a": {"original": 0.0, "s": 1.0, "t": 2.0}, "b": {"original": 0.0, "t": 1.0, "u": 3.0}}
    assert uniform(costs) == [
        {"a": "s", "b": "original"}, {"a": "t", "b": "t"}, {"a": "original", "b": "u"},
    ]  # fmt: skip
    assert uniform({"a": {"original": 0.0}}) == []


def test_undominated_are_those_more_accurate_than_all_that_are_as_small():
    points = [(3, 0.7), (1, 0.5), (2, 0.5), (2, 0.6), (1, 0.4), (4, 0.7), (5, 0.65), (6, 0.9)]
    found = undominated(points, lambda p: p[0], lambda p: p[1])
    assert found == [(1, 0.5), (2, 0.6), (3, 0.7), (6, 0.9)]
    assert undominated([], lambda p: p[0], lambda p: p[1]) == []
