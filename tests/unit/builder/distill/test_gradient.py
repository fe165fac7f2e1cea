"""The gradient step: what a descendant is fed, how its rate goes, what its steps do, and the errors it is judged by."""

import copy
import json
import math

import pytest
import torch

from legodnn.builder import AutoBlockManager, CommonModelManager
from legodnn.builder.distill.gradient import Trainer, ValidationErrors, train_batch, validate
from legodnn.builder.distill.paths import TeacherTap
from legodnn.builder.graph.run import compose
from legodnn.builder.managers.loss import relative_error
from legodnn.builder.workdir.log import VALUES, in_files
from legodnn.shared.errors import DataError
from tests.networks import images, network

HALF, QUARTER = "sparsity=0.5", "sparsity=0.25"


@pytest.fixture(scope="module")
def blocks():
    return AutoBlockManager((0.25, 0.5), network("functional"), CommonModelManager(), (1, 3, 8, 8), 0.5, round_to=1)


def pruned(blocks, variant=HALF):
    return {name: blocks.derive(name, variant).module for name in blocks.block_names}


def batches(blocks, count=1, size=16):
    loader = [(images(size, seed=seed), torch.zeros(size)) for seed in range(count)]
    return list(TeacherTap(blocks).batches(blocks, loader))


def trainer(blocks, modules, variant=HALF, rate=0.005, steps=60, seed=0):
    return Trainer(blocks, variant, modules, rate=rate, steps=steps, seed=seed)


def train(blocks, trainers, steps, size=16, first=0):
    for number in range(first, first + steps):
        loader = [(images(size, seed=100 + number), torch.zeros(size))]
        train_batch(blocks, trainers, next(iter(TeacherTap(blocks).batches(blocks, loader))))


def copied(modules):
    return {name: [p.detach().clone() for p in module.parameters()] for name, module in modules.items()}


def same(one, other):
    return all(torch.equal(a, b) for name in one for a, b in zip(one[name], other[name], strict=True))


# ---- steps ---------------------------------------------------------------------------------------------------------
def test_steps_make_every_descendant_better_on_images_it_has_not_seen(blocks):
    modules = pruned(blocks)
    before = validate(blocks, {HALF: modules}, batches(blocks, 2, 64))[HALF]
    train(blocks, [trainer(blocks, modules)], 60, 32)
    after = validate(blocks, {HALF: modules}, batches(blocks, 2, 64))[HALF]
    for name in blocks.block_names:
        assert after.teacher_fed[name] < 0.8 * before.teacher_fed[name]
        assert after.path_fed[name] < 0.8 * before.path_fed[name]


def test_the_rate_rises_for_twenty_steps_and_falls_to_nothing_along_a_cosine(blocks):
    one = trainer(blocks, pruned(blocks), rate=0.5, steps=100)
    rates = []
    for _ in range(120):
        one.begin_step()
        rates.append(one.optimizer.param_groups[0]["lr"])
        one.end_step()
    assert rates[0] == pytest.approx(0.5 / 20)
    assert rates[9] == pytest.approx(0.5 * 10 / 20 * 0.5 * (1 + math.cos(math.pi * 9 / 100)))
    assert max(rates) == rates[19] > 0.45
    assert rates[50] == pytest.approx(0.25)
    assert rates[20:100] == sorted(rates[20:100], reverse=True)
    assert rates[99] < 0.001
    assert max(rates[100:]) == 0.0


def test_of_a_few_steps_the_first_has_some_rate(blocks):
    one = trainer(blocks, pruned(blocks), rate=0.5, steps=2)
    one.begin_step()
    assert one.optimizer.param_groups[0]["lr"] == pytest.approx(0.25)
    none = trainer(blocks, pruned(blocks), rate=0.5, steps=0)
    none.begin_step()
    assert none.optimizer.param_groups[0]["lr"] == pytest.approx(0.5)


def test_every_step_begins_without_the_gradients_of_the_one_before(blocks):
    modules = pruned(blocks)
    one = trainer(blocks, modules)
    train_batch(blocks, [one], batches(blocks)[0])
    assert all(p.grad is None for module in modules.values() for p in module.parameters())
    before = copied(modules)
    one.begin_step()
    one.end_step()
    assert same(before, copied(modules))


def test_any_seed_will_do(blocks):
    for seed in (0, 2**31 - 1):
        one = trainer(blocks, pruned(blocks), seed=seed)
        one.begin_step()
        assert one.step == 0


def test_what_a_sparsity_becomes_does_not_depend_on_which_others_there_are(blocks):
    alone, beside, other = pruned(blocks), pruned(blocks), pruned(blocks, QUARTER)
    train(blocks, [trainer(blocks, alone)], 3)
    train(blocks, [trainer(blocks, other, QUARTER), trainer(blocks, beside)], 3)
    assert same(copied(alone), copied(beside))


# ---- what feeds a descendant ---------------------------------------------------------------------------------------
def fed(blocks, seed=0, variant=HALF, steps=48):
    """For every step whether the second block's descendant was fed by its own path, not by the teacher."""
    modules, found = pruned(blocks, variant), []
    first, second = blocks.block_names[:2]
    given = {}
    modules[first].register_forward_hook(lambda module, inputs, output: given.update(path=output.detach()))
    modules[second].register_forward_pre_hook(lambda module, inputs: given.update(seen=inputs[0]))
    one = trainer(blocks, modules, variant, seed=seed, rate=0.0)
    [batch] = batches(blocks, size=4)
    segment = next(s for s in blocks.graph.segments if s.name == second)
    for _ in range(steps):
        fresh = copy.copy(batch)
        fresh.teacher = dict(batch.teacher)
        teacher = batch.teacher[segment.inputs[0]]
        train_batch(blocks, [one], fresh)
        assert not torch.equal(given["path"], teacher)
        found.append(torch.equal(given["seen"], given["path"]))
        assert found[-1] or torch.equal(given["seen"], teacher)
    return found


def test_half_of_the_steps_are_fed_by_the_pruned_blocks_before_and_half_by_the_teacher(blocks):
    assert "".join(s.name for s in blocks.graph.segments if s.is_block) == "".join(blocks.block_names)
    assert 0.3 < sum(fed(blocks)) / 48 < 0.7


def test_which_steps_depends_on_seed_and_sparsity_alone(blocks):
    first = fed(blocks)
    assert fed(blocks) == first
    others = [fed(blocks, seed=1), fed(blocks, variant=QUARTER)]
    assert len({tuple(row) for row in [first, *others]}) == 3
    assert not any(row[1:] == first[:-1] or first[1:] == row[:-1] for row in others)


def test_a_path_continues_with_the_outputs_of_its_descendants(blocks):
    modules = pruned(blocks)
    [batch] = batches(blocks)
    wanted = compose(blocks.graph, blocks.folded, modules)(images(16, seed=0))
    seen = []
    modules[blocks.block_names[-1]].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        compose(blocks.graph, blocks.folded, modules)(images(16, seed=0))
    validate(blocks, {HALF: modules}, [batch])
    assert wanted.shape == (16, 4)
    assert torch.equal(seen[0], seen[1])  # the path's; the teacher's follows


# ---- blocks that are left alone ------------------------------------------------------------------------------------
def test_a_block_that_is_left_alone_keeps_its_weights_and_the_others_see_the_teacher_in_its_place(blocks):
    modules = pruned(blocks)
    before = copied(modules)
    first, second = blocks.block_names[:2]
    one = trainer(blocks, modules)
    one.leave([first])
    seen = []
    modules[second].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    for _ in range(8):
        [batch] = batches(blocks)
        source = next(s for s in blocks.graph.segments if s.name == second).inputs[0]
        teacher = batch.teacher[source]
        train_batch(blocks, [one], batch)
        assert torch.equal(seen[-1], teacher)
    after = copied(modules)
    assert same({first: before[first]}, after)
    assert not same({second: before[second]}, after)
    assert one.failed == {first}


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_block_whose_loss_is_no_number_is_left_alone_and_harms_no_other(blocks, broken):
    modules = pruned(blocks)
    first, second = blocks.block_names[:2]
    with torch.no_grad():
        next(modules[first].parameters()).fill_(broken)
    one = trainer(blocks, modules)
    before = copied(modules)
    train(blocks, [one], 8)
    assert one.failed == {first}
    assert not any(p.requires_grad for p in modules[first].parameters())
    assert all(torch.isfinite(p).all() for p in modules[second].parameters())
    assert not same({second: before[second]}, copied(modules))


# ---- what is noted -------------------------------------------------------------------------------------------------
def test_every_tenth_step_notes_the_mean_loss_of_the_blocks_and_the_rate(blocks, tmp_path):
    modules = pruned(blocks)
    one = trainer(blocks, modules, rate=0.0)
    [batch] = batches(blocks)
    with in_files(tmp_path):
        train(blocks, [one], 11, first=-100)  # images of seeds 0 to 10
    rows = [json.loads(line) for line in (tmp_path / VALUES).read_text().splitlines()]
    assert [(row["stage"], row["variant"], row["step"], row["rate"]) for row in rows] == [
        ("distill", HALF, 0, 0.0), ("distill", HALF, 10, 0.0),
    ]  # fmt: skip
    found = validate(blocks, {HALF: modules}, [batch])[HALF]
    first, second = blocks.block_names
    means = [(found.teacher_fed[first] + fed[second]) / 2 for fed in (found.teacher_fed, found.path_fed)]
    assert any(rows[0]["loss"] == pytest.approx(mean, rel=1e-4) for mean in means)
    assert rows[1]["loss"] != rows[0]["loss"]


# ---- going on ------------------------------------------------------------------------------------------------------
def test_a_trainer_goes_on_as_if_it_had_not_been_interrupted(blocks):
    whole, cut = pruned(blocks), pruned(blocks)
    train(blocks, [trainer(blocks, whole, steps=8)], 8)
    first = trainer(blocks, cut, steps=8)
    train(blocks, [first], 4)
    later = trainer(blocks, cut, steps=8)
    later.resume(first.state())
    train(blocks, [later], 4, first=4)
    assert later.step == 8
    assert same(copied(whole), copied(cut))


def test_blocks_that_were_left_alone_still_are(blocks):
    first = trainer(blocks, pruned(blocks))
    first.leave(blocks.block_names[:1])
    later = trainer(blocks, pruned(blocks))
    later.resume(first.state())
    assert later.failed == set(blocks.block_names[:1])


# ---- errors --------------------------------------------------------------------------------------------------------
def test_errors_are_means_over_the_batches_fed_by_the_teacher_and_by_the_path(blocks):
    modules = pruned(blocks)
    found = validate(blocks, {HALF: modules}, batches(blocks, 3))[HALF]
    teacher_fed, path_fed = ({name: [] for name in blocks.block_names} for _ in range(2))
    last = max(i for i, s in enumerate(blocks.graph.segments) if s.is_block)
    for seed in range(3):
        values = {blocks.graph.inputs[0]: images(16, seed=seed)}
        path = dict(values)
        with torch.no_grad():
            for segment in blocks.graph.segments[: last + 1]:
                source, target = segment.inputs[0], segment.outputs[0]
                assert len(segment.inputs) == len(segment.outputs) == 1
                values[target] = blocks.folded[segment.name](values[source])
                if segment.is_block:
                    module = modules[segment.name]
                    path[target] = module(path[source])
                    teacher_fed[segment.name].append(float(relative_error(module(values[source]), values[target])))
                    path_fed[segment.name].append(float(relative_error(path[target], values[target])))
                else:
                    path[target] = blocks.folded[segment.name](path[source])
    for name in blocks.block_names:
        assert found.teacher_fed[name] == pytest.approx(sum(teacher_fed[name]) / 3, rel=1e-4)
        assert found.path_fed[name] == pytest.approx(sum(path_fed[name]) / 3, rel=1e-4)
    last = blocks.block_names[-1]
    assert found.teacher_fed[last] != pytest.approx(found.path_fed[last], rel=1e-3)


def test_in_place_of_a_missing_descendant_a_path_has_the_teacher(blocks):
    modules = pruned(blocks)
    first, second = blocks.block_names[:2]
    del modules[first]
    found = validate(blocks, {HALF: modules}, batches(blocks))[HALF]
    assert first not in found.teacher_fed
    assert found.path_fed[second] == pytest.approx(found.teacher_fed[second])


def test_a_descendant_that_one_sparsity_lacks_is_judged_of_the_others(blocks):
    lacking, whole = pruned(blocks), pruned(blocks, QUARTER)
    del lacking[blocks.block_names[0]]
    found = validate(blocks, {HALF: lacking, QUARTER: whole}, batches(blocks))
    alone = validate(blocks, {QUARTER: whole}, batches(blocks))
    assert vars(found[QUARTER]) == vars(alone[QUARTER])
    assert min(found[QUARTER].teacher_fed.values()) > 0


def test_no_batches_to_validate_on_are_an_error_and_not_an_error_of_nothing(blocks):
    with pytest.raises(DataError, match="no batches"):
        validate(blocks, {HALF: pruned(blocks)}, [])


@pytest.mark.parametrize(("path", "judged"), [
    (0.4, 0.3), (1.0, 0.6), (1.5, 0.6), (1e9, 0.6), (math.inf, 0.6), (math.nan, 0.6),
])  # fmt: skip
def test_the_error_that_steps_are_compared_by_is_a_mean_with_a_path_that_counts_as_a_constant_at_most(path, judged):
    assert ValidationErrors({"block": 0.2}, {"block": path}).judged("block") == pytest.approx(judged)
