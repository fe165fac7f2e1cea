"""Reconstruction takes the images that fit into its memory, says where that are fewer, and sees broken inputs."""

import weakref

import pytest
import torch
import torch.nn as nn

from legodnn.builder import AutoBlockManager, BlockRetrainer, CommonModelManager
from legodnn.builder.distill import retrainer
from legodnn.builder.distill.calibration import first_images, images_that_fit, reconstruct
from legodnn.builder.graph.run import compose
from legodnn.builder.managers.loss import relative_error
from tests.networks import conv, images, network


@pytest.fixture(scope="module")
def blocks():
    return AutoBlockManager((0.25, 0.5), network("functional"), CommonModelManager(), (1, 3, 8, 8), 0.5, round_to=1)


def test_images_fit_by_what_is_live_at_once(blocks):
    one = images_that_fit(blocks.graph, 10**9, capacity=10**6)
    assert 1 <= one < 10**6 / (2 * 3 * 8 * 8 * 4)
    assert images_that_fit(blocks.graph, 10**9, capacity=2 * 10**6) in (2 * one, 2 * one + 1)
    assert images_that_fit(blocks.graph, 5) == 5
    assert images_that_fit(blocks.graph, 10**12) in range(2147 * one, 2148 * (one + 1))  # two GiB
    assert images_that_fit(blocks.graph, 5, capacity=1) == 1


def test_the_last_batch_is_cut(blocks):
    node = blocks.graph.inputs[0]
    taken = first_images(({node: images(8, seed=seed)} for seed in range(5)), 20)
    assert [len(values[node]) for values in taken] == [8, 8, 4]


def test_fewer_images_than_asked_for_are_said(blocks, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(retrainer, "images_that_fit", lambda graph, asked: 3)
    blocks.extract_all_blocks(tmp_path / "compressed")
    trained = BlockRetrainer(
        blocks.teacher, blocks, blocks.model_manager, tmp_path / "compressed", tmp_path / "trained", 0,
        [(images(32), torch.arange(32) % 4)], seed=0, closed_form_images=20,
    )  # fmt: skip
    trained.train_all_blocks()
    [remark] = trained.remarks
    assert remark.startswith("distill.closed_form_images: 20 asked for, 3 taken")
    assert remark in caplog.text


def test_a_later_block_is_fitted_on_what_the_earlier_ones_give(blocks):
    """The same block, solved behind descendants that are far off and behind good ones, is another one."""
    variant = "sparsity=0.5"
    inputs = [{blocks.graph.inputs[0]: images(64)}]
    found = {}
    for spoiled in (False, True):
        descendants = {name: blocks.derive(name, variant) for name in blocks.block_names}
        if spoiled:
            del descendants[blocks.block_names[0]]
        reconstruct(blocks, variant, descendants, inputs)
        last = blocks.block_names[-1]
        found[spoiled] = [p.detach().clone() for p in descendants[last].module.parameters()]
    assert any(not torch.equal(a, b) for a, b in zip(found[False], found[True], strict=True))


def test_reconstruction_makes_the_whole_path_better(blocks):
    variant = "sparsity=0.5"
    inputs = [{blocks.graph.inputs[0]: images(128)}]
    errors = {}
    for name in ("pruned", "solved"):
        descendants = {block: blocks.derive(block, variant) for block in blocks.block_names}
        if name == "solved":
            reconstruct(blocks, variant, descendants, inputs)
        errors[name] = path_error(blocks, descendants, images(64, seed=9))
    assert errors["solved"] < 0.9 * errors["pruned"]


def path_error(blocks, descendants, seen):
    teacher = compose(blocks.graph, blocks.folded, {})
    path = compose(blocks.graph, blocks.folded, {name: d.module for name, d in descendants.items()})
    with torch.no_grad():
        return float(relative_error(path(seen), teacher(seen)))


def chain():
    """Five blocks; the output of each but the last is a map (16, 8, 8)."""
    layers = [layer for _ in range(4) for layer in (conv(8, 16), nn.ReLU(), conv(16, 8), nn.ReLU())]
    model = nn.Sequential(conv(3, 8), nn.ReLU(), *layers, nn.Flatten(), nn.Linear(512, 4)).eval()
    return AutoBlockManager((0.5,), model, CommonModelManager(), (1, 3, 8, 8), 0.2, round_to=1)


def test_a_block_s_input_and_output_are_counted_for_the_teacher_and_the_path():
    graph, one = chain().graph, 2 * 2 * 4 * 16 * 8 * 8
    assert images_that_fit(graph, 1000, capacity=10 * one) == 10
    assert images_that_fit(graph, 1000, capacity=10 * one - 1) == 9


def test_values_are_freed_as_soon_as_no_later_segment_reads_them():
    blocks = chain()
    descendants = {name: blocks.derive(name, "sparsity=0.5") for name in blocks.block_names}
    given, alive = {}, {}

    def watch(name):
        def hook(module, inputs):
            alive[name] = [earlier for earlier, reference in given.items() if reference() is not None]
            given[name] = weakref.ref(inputs[0])

        return hook

    for name in blocks.block_names[1:]:  # the first reads what the caller holds
        descendants[name].module.register_forward_pre_hook(watch(name))
    reconstruct(blocks, "sparsity=0.5", descendants, [{blocks.graph.inputs[0]: images(8)}])
    assert len(alive) > 3
    assert not any(alive.values())
