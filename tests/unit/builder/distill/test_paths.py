"""Batches run through the teacher, and through compositions of descendants beside it."""

import weakref

import pytest
import torch
import torch.nn as nn

from legodnn.builder import AutoBlockManager, CommonModelManager
from legodnn.builder.distill.paths import Batch, TeacherTap, walk
from legodnn.builder.graph.run import compose
from legodnn.shared.errors import DataError
from tests.networks import conv, images, network


class Twice(nn.Module):
    """Two residual branches, which are blocks, and what lies around them."""

    def __init__(self):
        super().__init__()
        self.stem, self.head = conv(3, 8), nn.Linear(8, 4)
        self.first, self.second = (nn.Sequential(conv(8, 16), nn.ReLU(), conv(16, 8)) for _ in range(2))

    def forward(self, x):
        x = self.stem(x)
        x = x + self.first(x)
        x = torch.relu(x + self.second(x))
        return self.head(x.mean((2, 3)))


def managed(manager):
    torch.manual_seed(0)
    return AutoBlockManager((0.5,), Twice().eval(), manager, (1, 3, 8, 8), 0.1, round_to=1)


@pytest.fixture(scope="module")
def blocks():
    return managed(CommonModelManager())


@pytest.fixture(scope="module")
def apart():
    """A layer without variants lies between its two blocks."""
    found = AutoBlockManager((0.5,), network("transposed"), CommonModelManager(), (1, 3, 8, 8), 0.5, round_to=1)
    assert [segment.is_block for segment in found.graph.segments] == [True, False, True]
    return found


def taken(blocks, loader):
    return list(TeacherTap(blocks).batches(blocks, loader))


# ---- the teacher ---------------------------------------------------------------------------------------------------
def test_a_batch_has_the_teacher_s_values_at_every_boundary(blocks):
    x = images(4)
    [batch] = taken(blocks, [(x, torch.zeros(4))])
    assert set(batch.teacher) >= set(blocks.graph.boundaries)
    assert torch.equal(batch.teacher[blocks.graph.inputs[0]], x)
    with torch.no_grad():
        wanted = compose(blocks.graph, blocks.folded, {})(x)
    assert torch.allclose(blocks.graph.answer(batch.teacher), wanted, atol=1e-5)
    assert not any(value.requires_grad for value in batch.teacher.values())
    assert batch.paths == {}


def test_a_batch_that_does_not_reach_the_network_is_named_by_its_number(blocks):
    good = (images(4), torch.zeros(4))
    with pytest.raises(DataError, match="batch 1 of the loader does not run through the network"):
        taken(blocks, [good, (torch.zeros(4, 5, 8, 8), torch.zeros(4))])
    with pytest.raises(DataError, match="batch 2 of the loader does not run through the network"):
        taken(blocks, [good, good, 5])


def test_a_batch_that_is_too_large_is_called_that(blocks):
    class Small(CommonModelManager):
        def forward_to_gen_mid_data(self, model, batch_data, device):
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")

    tap = TeacherTap(blocks)
    small = managed(Small())
    with pytest.raises(MemoryError, match="batch 0 of the loader does not fit; make its batches smaller"):
        next(iter(tap.batches(small, [(images(4), torch.zeros(4))])))


def test_a_manager_that_does_not_run_the_network_is_noticed_also_after_one_that_did(blocks):
    class Once(CommonModelManager):
        def forward_to_gen_mid_data(self, model, batch_data, device):
            return super().forward_to_gen_mid_data(model, batch_data, device) if len(batch_data[0]) == 4 else None

    once = managed(Once())
    with pytest.raises(DataError, match="batch 1: the model manager did not run the network"):
        taken(once, [(images(4), torch.zeros(4)), (images(2), torch.zeros(2))])


# ---- paths ---------------------------------------------------------------------------------------------------------
def walked(blocks, changed):
    """The outputs that a path had at the last block, where ``changed`` gives what a block puts into it."""
    [batch] = taken(blocks, [(images(4), torch.zeros(4))])
    teacher, seen = dict(batch.teacher), {}

    def visit(segment, batch, name):
        assert segment.is_block
        source, target = segment.inputs[0], segment.outputs[0]
        seen[segment.name] = (batch.paths["one"][source], teacher[source])
        batch.paths["one"][target] = changed(teacher[target])

    walk(blocks, batch, ["one"], visit)
    return seen, batch


def test_a_path_that_still_has_the_teacher_s_values_shares_them(apart):
    seen, _ = walked(apart, lambda value: value)
    assert list(seen) == apart.block_names
    assert all(path is teacher for path, teacher in seen.values())


def test_behind_a_changed_block_a_path_has_values_of_its_own(apart):
    seen, _ = walked(apart, lambda value: value + 1)
    first, *later = apart.block_names
    assert seen[first][0] is seen[first][1]
    assert later
    assert not any(torch.equal(*seen[name]) for name in later)


def test_what_lies_between_blocks_is_run_on_the_path_s_values(apart):
    """With each block's output doubled a path is the network whose blocks give twice as much."""

    class Doubled(nn.Module):
        def __init__(self, block):
            super().__init__()
            self.block = block

        def forward(self, x):
            return 2 * self.block(x)

    [batch] = taken(apart, [(images(4), torch.zeros(4))])
    doubled, inputs = {name: Doubled(apart.folded[name]) for name in apart.block_names}, {}

    def visit(segment, batch, name):
        inputs[segment.name] = batch.paths["one"][segment.inputs[0]]
        batch.paths["one"][segment.outputs[0]] = doubled[segment.name](batch.seen("one", segment.inputs[0]))

    wanted = {}
    for name, module in doubled.items():
        module.register_forward_pre_hook(lambda module, given, name=name: wanted.update({name: given[0]}))
    with torch.no_grad():
        walk(apart, batch, ["one"], visit)
        wanted.clear()
        compose(apart.graph, apart.folded, doubled)(images(4))
    assert len(wanted) == len(apart.block_names) > 1
    assert all(torch.allclose(inputs[name], wanted[name], atol=1e-4) for name in apart.block_names)


def test_values_are_freed_after_their_last_reader_and_what_is_behind_the_last_block_is_not_run(blocks):
    _, batch = walked(blocks, lambda value: value + 1)
    [behind] = blocks.graph.segments[1 + [s.name for s in blocks.graph.segments].index(blocks.block_names[-1]) :]
    read_later = set(behind.inputs)
    assert set(batch.paths["one"]) <= read_later
    assert set(batch.teacher) <= read_later | set(blocks.graph.outputs)


def test_seen_is_the_teacher_s_value_without_a_path(blocks):
    node = blocks.graph.inputs[0]
    batch = Batch({node: torch.zeros(1)}, {"one": {node: torch.ones(1)}})
    assert batch.seen(None, node) is batch.teacher[node]
    assert batch.seen("one", node) is batch.paths["one"][node]


# ---- several paths ---------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def many():
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


def test_a_path_does_not_depend_on_which_others_there_are(many):
    both = outputs(many, many.descendant_names)
    for name in many.descendant_names:
        assert all(torch.equal(both[key], alone) for key, alone in outputs(many, [name]).items())


def test_the_values_of_a_path_are_freed_before_the_next_one_runs(many):
    first, second = many.descendant_names
    values, teachers = [], []

    def seen(segment, batch, name):
        assert list(batch.paths) == [name]
        if name == first:
            values.extend(weakref.ref(v) for n, v in batch.paths[first].items() if v is not batch.teacher.get(n))
        assert name == first or all(value() is None for value in values)
        teachers.append(set(batch.teacher))

    outputs(many, [first, second], seen)
    assert values
    count = len(many.block_names)
    assert teachers[:count] == [teachers[0]] * count  # the next path reads them, too
    assert teachers[-1] < teachers[0]
