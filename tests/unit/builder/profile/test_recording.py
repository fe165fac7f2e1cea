"""Activations are recorded as far as memory allows, and carried from position to position; no result changes."""

import pytest
import torch

from legodnn.builder import AutoBlockManager, CommonModelManager
from legodnn.builder.graph.run import compose
from legodnn.builder.profile import recording as module
from legodnn.builder.profile.recording import Recording, compared
from legodnn.shared.errors import DataError, ModelError
from tests.networks import images, network

BATCH = 16 * 3 * 8 * 8 * 4
"""Bytes of a batch of images."""

ANSWER = 16 * 4 * 4
"""Bytes of the teacher's answers to one, by which networks are compared."""


@pytest.fixture(scope="module")
def blocks():
    return AutoBlockManager((0.5,), network("functional"), CommonModelManager(), (1, 3, 8, 8), 0.5, round_to=1)


def batches(count=4):
    return [(images(16, seed=seed), torch.arange(16) % 4) for seed in range(count)]


def recorded(blocks, data=None):
    return Recording(blocks, blocks.model_manager, batches() if data is None else data)


@pytest.mark.parametrize(("limit", "values", "wanted"), [
    (2 * ANSWER - 1, [], []), (2 * ANSWER, [], [0]), (2 * BATCH - 1, [], [0, 1, 2, 3]), (2 * BATCH, [0], [0, 1, 2, 3]),
    (3 * BATCH + ANSWER - 1, [0], [0, 1, 2, 3]), (3 * BATCH + ANSWER, [0, 1], [0, 1, 2, 3]),
    (5 * BATCH + 3 * ANSWER, [0, 1, 2, 3], [0, 1, 2, 3]), (5 * BATCH + 3 * ANSWER - 1, [0, 1, 2], [0, 1, 2, 3]),
])  # fmt: skip
def test_a_batch_is_recorded_where_it_takes_half_of_what_is_left_at_most(blocks, limit, values, wanted, monkeypatch):
    monkeypatch.setattr(module, "RECORDED_BYTES", limit)
    found = recorded(blocks)
    assert [number for number, value in enumerate(found.values) if value is not None] == values
    assert [number for number, value in enumerate(found.wanted) if value is not None] == wanted


def test_what_grows_beyond_the_memory_when_it_is_carried_on_is_dropped(blocks, monkeypatch):
    """Behind the first block a batch takes four times as many bytes as before (12 channels of 8x8 for 3)."""
    found = recorded(blocks)
    found.carry(0)
    [value] = found.values[0].values()
    grown = value.numel() * value.element_size()
    assert grown > BATCH
    for limit, kept in ((4 * (grown + ANSWER), 4), (4 * (grown + ANSWER) - 1, 3), (4 * ANSWER + grown + 3 * BATCH, 1)):
        again = recorded(blocks)
        monkeypatch.setattr(module, "RECORDED_BYTES", limit)
        again.carry(0)
        assert sum(value is not None for value in again.values) == kept
        assert again.position == 1
        monkeypatch.undo()


def test_behind_any_position_an_evaluation_is_that_from_the_images(blocks):
    found = recorded(blocks)
    last = blocks.block_names[-1]
    chosen = {last: blocks.derive(last, "sparsity=0.5").module}
    first = found.evaluate(chosen)
    found.carry(0)
    assert found.evaluate(chosen) == pytest.approx(first, rel=1e-5)
    found.rewind()
    assert found.position == 0
    assert found.values == [None] * 4
    assert found.evaluate(chosen) == pytest.approx(first, rel=1e-5)


def test_an_evaluation_is_the_accuracy_and_the_share_of_the_variance_that_outputs_move(blocks):
    found = recorded(blocks)
    name = blocks.block_names[0]
    chosen = {name: blocks.derive(name, "sparsity=0.5").module}
    teacher, changed = (compose(blocks.graph, blocks.folded, modules) for modules in ({}, chosen))
    squared = variance = 0.0
    with torch.no_grad():
        for x, _ in batches():
            wanted = teacher(x).double()
            squared += float((changed(x).double() - wanted).square().sum())
            variance += float((wanted - wanted.mean()).square().sum())
        right = [(changed(x).argmax(1) == y).double() for x, y in batches()]
    accuracy, moved = found.evaluate(chosen)
    assert accuracy == pytest.approx(float(torch.cat(right).mean()))
    assert moved == pytest.approx(squared / variance, rel=1e-4)
    assert found.evaluate({}) == pytest.approx((found.teacher_accuracy, 0.0), abs=1e-9)
    assert found.inputs == 64


def test_a_loader_that_ends_early_or_yields_others_is_refused(blocks):
    data = batches()
    found = recorded(blocks, data)
    last = data.pop()
    with pytest.raises(DataError, match="different number of batches in every pass"):
        found.evaluate({})
    data += [last, last]
    with pytest.raises(DataError, match="order changes from pass to pass"):
        found.evaluate({})
    data.pop()
    data[0], data[1] = data[1], data[0]
    with pytest.raises(DataError, match="order changes from pass to pass"):
        found.evaluate({})


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_teacher_whose_answers_are_not_finite_is_refused(blocks, number):
    data = batches()
    data[2][0][3, 0, 0, 0] = number
    with pytest.raises(ModelError, match="answers on the test images are not finite"):
        recorded(blocks, data)


def test_networks_are_compared_by_their_outputs(blocks):
    assert compared(blocks, blocks.block_names[:1]) == list(blocks.graph.outputs)
