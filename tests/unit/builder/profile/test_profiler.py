"""Variants and selections whose outputs are not finite numbers are left out, and that is said."""

import math
import re
import shutil

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from legodnn.builder import AutoBlockManager, BlockProfiler, BlockRetrainer, CommonModelManager, pack
from legodnn.builder.workdir import progress
from legodnn.builder.workdir.files import load_tensors, save_tensors
from legodnn.runtime import Network
from legodnn.shared.errors import ModelError
from tests.networks import images, network

INPUT = (1, 3, 8, 8)
VARIANT = "sparsity=0.5"


def loader():
    x = images(32)
    return DataLoader(TensorDataset(x, network("functional")(x).argmax(1)), batch_size=16)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("work")
    blocks = AutoBlockManager((0.25, 0.5), network("functional"), CommonModelManager(), INPUT, 0.5, round_to=1)
    blocks.extract_all_blocks(folder / "compressed")
    BlockRetrainer(
        blocks.teacher, blocks, blocks.model_manager, folder / "compressed", folder / "trained", 0, loader(), seed=0
    ).train_all_blocks()
    return blocks, folder


@pytest.fixture
def trained(made, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    blocks, folder = made
    shutil.copytree(folder / "trained", tmp_path / "trained")
    return blocks, tmp_path / "trained"


def multiply(directory, block, factor):
    """Multiply the weights of a trained variant."""
    path = directory / VARIANT / f"{block}.pt"
    saved = load_tensors(path)
    save_tensors(path, {**saved, "state": {name: value * factor for name, value in saved["state"].items()}})


def profile(blocks, directory, compositions=6):
    return BlockProfiler(
        blocks.teacher, blocks, blocks.model_manager, directory, loader(), INPUT, compositions=compositions
    ).profile_all_blocks()


@pytest.mark.parametrize("factor", [1e30, math.nan])
def test_a_variant_that_overflows_on_the_test_images_is_left_out_of_tables_and_bundle(trained, factor):
    blocks, directory = trained
    multiply(directory, blocks.block_names[0], factor)
    found = profile(blocks, directory)
    [sentence] = found.left_out
    assert sentence.startswith(f"{blocks.block_names[0]} {VARIANT}: left out, its outputs on the test images")
    for table in (found.accuracy_loss, found.distortion, found.resources):
        assert VARIANT not in table[blocks.block_names[0]]
        assert VARIANT in table[blocks.block_names[1]]
    assert all(math.isfinite(row[key]) for row in found.compositions for key in ("distortion", "accuracy", "moved"))
    pack(directory / "x.lgb", blocks, directory, found, loader())
    with Network.open(directory / "x.lgb") as opened:
        assert (blocks.block_names[0], VARIANT) not in {(b.name, v.name) for b in opened.blocks for v in b.variants}
        assert opened.manifest.notes[0] == sentence
        assert all(result.passed for result in opened.self_test())


def test_no_metric_reads_outputs_that_are_not_finite(trained, monkeypatch):
    blocks, directory = trained
    multiply(directory, blocks.block_names[0], math.nan)
    seen = []

    def accuracy(model, test_loader, device):
        for x, _ in test_loader:
            seen.append(bool(torch.isfinite(model(x)).all()))
        return 0.5

    monkeypatch.setattr(blocks.model_manager, "get_model_acc", accuracy)
    assert len(profile(blocks, directory).left_out) == 1
    assert all(seen)


def test_variants_that_overflow_only_together_count_as_having_lost_everything(trained):
    blocks, directory = trained
    for block in blocks.block_names[:2]:
        multiply(directory, block, 1e12)
    found = profile(blocks, directory)
    assert all(VARIANT in row for row in found.distortion.values())
    [sentence] = found.left_out
    assert "measured selections: left out, their outputs" in sentence
    first, second = blocks.block_names[:2]
    selections = [row["selection"] for row in found.compositions]
    assert selections
    assert not any(s[first] == s[second] == VARIANT for s in selections)
    worst = {b: max(row.values()) for b, row in found.distortion.items()}
    assert found.predictor.accuracy(sum(worst.values())) <= found.chance_accuracy + 1e-9


def test_a_metric_that_is_not_a_number_leaves_the_variant_out_and_is_refused_for_the_teacher(trained, monkeypatch):
    blocks, directory = trained
    said = [0.9, 0.9, math.nan, *[0.8] * 20]  # the teacher, once more on the first batches, the first variant
    monkeypatch.setattr(blocks.model_manager, "get_model_acc", lambda model, loader, device: _run(model, said))
    found = profile(blocks, directory)
    [sentence] = found.left_out
    assert sentence.startswith(f"{blocks.block_names[0]} sparsity=0.25: left out")
    assert all(math.isfinite(loss) for row in found.accuracy_loss.values() for loss in row.values())
    shutil.rmtree(directory / "profile")
    said[:] = [math.nan]
    with pytest.raises(ModelError, match="get_model_acc says nan for the teacher"):
        profile(blocks, directory)


def _run(model, said):
    for x, _ in loader():
        model(x)
    return said.pop(0)


def test_progress_counts_the_teacher_the_variants_and_the_selections(trained, monkeypatch, capsys):
    monkeypatch.setattr(progress, "QUIET_SECONDS", 0.0)
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    blocks, directory = trained
    found = profile(blocks, directory, compositions=7)
    said = re.findall(r"^profile: (\d+)/(\d+) evaluation", capsys.readouterr().err, re.MULTILINE)
    done = 1 + sum(len(row) - 1 for row in found.distortion.values()) + len(found.compositions) + len(found.uniform)
    assert {total for _, total in said} == {str(1 + 4 + 7 + 2)}
    assert [int(count) for count, _ in said] == list(range(1, done + 1))
