"""Paths run one after the other, so that a batch takes the memory of one, and do not depend on each other."""

import weakref

import pytest
import torch

from legodnn.builder import AutoBlockManager, CommonModelManager
from legodnn.builder.distill.paths import TeacherTap, walk
from tests.networks import images, network


@pytest.fixture(scope="module")
def blocks():
    made = AutoBlockManager((0.25, 0.5), network("functional"), CommonModelManager(), (1, 3, 8, 8), 0.1, round_to=1)
    assert len(made.block_names) > 1
    return made


def outputs(blocks, names, seen=lambda segment, batch, name: None):
    """The outputs of every path's descendants for a batch; ``seen`` is called before each."""
    modules = {name: {block: blocks.derive(block, name).module for block in blocks.block_names} for name in names}
    found = {}

    def visit(segment, batch, name):
        seen(segment, batch, name)
        made = modules[name][segment.name](batch.paths[name][segment.inputs[0]])
        batch.paths[name][segment.outputs[0]] = made
        found[name, segment.name] = made.sum()

    with torch.no_grad():
        for batch in TeacherTap(blocks).batches(blocks, [(images(16), torch.zeros(16))]):
            walk(blocks, batch, names, visit)
    return found


def test_a_path_does_not_depend_on_which_others_there_are(blocks):
    both = outputs(blocks, blocks.descendant_names)
    for name in blocks.descendant_names:
        assert all(torch.equal(both[key], alone) for key, alone in outputs(blocks, [name]).items())


def test_the_values_of_a_path_are_freed_before_the_next_one_runs(blocks):
    first, second = blocks.descendant_names
    values, teachers = [], []

    def seen(segment, batch, name):
        assert list(batch.paths) == [name]
        if name == first:
            values.extend(weakref.ref(v) for n, v in batch.paths[first].items() if v is not batch.teacher.get(n))
        assert name == first or all(value() is None for value in values)
        teachers.append(set(batch.teacher))

    outputs(blocks, [first, second], seen)
    assert values
    count = len(blocks.block_names)
    assert teachers[:count] == [teachers[0]] * count  # the next path reads them, too
    assert teachers[-1] < teachers[0]
