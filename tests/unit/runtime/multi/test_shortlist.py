"""What is left out of the joint program is never part of the best answer."""

import itertools
import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from legodnn.runtime.multi.shortlist import Points, shortlist

NUMBER = st.integers(0, 128).map(lambda n: n / 128)
NETWORK = st.lists(st.tuples(NUMBER, NUMBER, NUMBER), min_size=1, max_size=8)


def points(rows):
    value, memory, time = torch.tensor(rows, dtype=torch.float64).T
    return Points(value, torch.stack([memory, time]))


def best(networks):
    """The least sum of values within the budgets, and the combinations that have it."""
    found, least = [], float("inf")
    for places in itertools.product(*(range(len(rows)) for rows in networks)):
        chosen = [rows[i] for rows, i in zip(networks, places, strict=True)]
        value, memory, time = (sum(column) for column in zip(*chosen, strict=True))
        if memory > 1 or time > 1 or value > least + 1e-9:
            continue
        if value < least - 1e-9:
            found, least = [], value
        found.append(places)
    return least, found


@settings(max_examples=200, deadline=None)
@given(st.lists(NETWORK, min_size=1, max_size=4))
def test_the_best_answer_is_kept(networks):
    least, places = best(networks)
    result = shortlist([points(rows) for rows in networks])
    if not places:
        assert result.answer is None
        return
    assert any(all(i in kept for i, kept in zip(combination, result.kept, strict=True)) for combination in places)
    if result.answer is not None:
        chosen = [rows[i] for rows, i in zip(networks, result.answer, strict=True)]
        assert sum(c[0] for c in chosen) >= least - 1e-9
        assert max(sum(c[1] for c in chosen), sum(c[2] for c in chosen)) <= 1 + 1e-9


@settings(max_examples=100, deadline=None)
@given(st.lists(NETWORK, min_size=1, max_size=4))
def test_a_known_answer_is_improved_or_kept(networks):
    _, places = best(networks)
    if places:
        start = places[0]
        result = shortlist([points(rows) for rows in networks], start=start)
        value = sum(rows[i][0] for rows, i in zip(networks, result.answer, strict=True))
        assert value == pytest.approx(sum(rows[i][0] for rows, i in zip(networks, start, strict=True)))


def test_little_is_left_of_many():
    generator = random.Random(0)
    networks = []
    for _ in range(20):
        rows = []
        for _ in range(300):
            memory, time = generator.uniform(0.01, 0.1), generator.uniform(0.01, 0.1)
            rows.append((1 / (memory * time) ** 0.5 * generator.uniform(1, 1.2), memory, time))
        networks.append(points(rows))
    result = shortlist(networks)
    assert sum(map(len, result.kept)) < 600
    assert all(i in kept for i, kept in zip(result.answer, result.kept, strict=True))
