"""Both steps: what is tried again at a lower rate, which data judge, and what a stage's result depends on."""

import math
import re

import pytest
import torch
import torch.nn as nn

from legodnn.builder import AutoBlockManager, BlockRetrainer, CommonModelManager
from legodnn.builder.distill.results import trained_stages
from legodnn.builder.managers.loss import relative_error
from legodnn.builder.workdir import progress
from tests.networks import conv, images

VARIANT = "sparsity=0.5"


def one_block():
    torch.manual_seed(0)
    model = nn.Sequential(conv(3, 16), nn.LeakyReLU(), conv(16, 8), nn.LeakyReLU(), nn.Flatten(), nn.Linear(512, 4))
    return AutoBlockManager((0.5,), model.eval(), CommonModelManager(), (1, 3, 8, 8), 1.0, round_to=1)


def retrain(folder, **kwargs):
    blocks = one_block()
    blocks.extract_all_blocks(folder / "compressed")
    loader = [(images(16, seed=seed), torch.zeros(16)) for seed in range(5)]
    options = {"block_training_max_epoch": 4, "closed_form_images": 1, "seed": 0, **kwargs}
    return BlockRetrainer(
        blocks.teacher, blocks, blocks.model_manager, folder / "compressed", folder / "trained",
        **{"train_loader": loader, **options},
    )  # fmt: skip


def trained(folder):
    blocks = one_block()
    return blocks.load(trained_stages(blocks, folder / "trained")[VARIANT], blocks.block_names[0]).module


# ---- the retry -----------------------------------------------------------------------------------------------------
def test_what_diverged_is_trained_once_more_from_the_reconstruction_at_a_tenth_of_the_rate(tmp_path):
    [retried] = retrain(tmp_path / "a", learning_rate=1.0).train_all_blocks()
    [direct] = retrain(tmp_path / "b", learning_rate=0.1).train_all_blocks()
    [solved] = retrain(tmp_path / "c", block_training_max_epoch=0).train_all_blocks()
    assert (retried.method, direct.method, solved.method) == ("gradient, lower rate", "gradient", "reconstruction")
    assert retried.error == pytest.approx(direct.error, rel=1e-4)
    assert retried.error < 0.95 * solved.error
    pairs = zip(trained(tmp_path / "a").parameters(), trained(tmp_path / "b").parameters(), strict=True)
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in pairs)


# ---- what judges ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("epochs", [0, 4], ids=["reconstruction", "gradient"])
def test_errors_are_those_on_the_validation_data_alone(tmp_path, epochs):
    held = [(1.5 * images(12, seed=50 + seed), torch.zeros(12)) for seed in range(2)]
    [result] = retrain(
        tmp_path, block_training_max_epoch=epochs, learning_rate=0.01, closed_form_images=64 if epochs == 0 else 1,
        validation_loader=held,
    ).train_all_blocks()  # fmt: skip
    blocks, module = one_block(), trained(tmp_path)
    with torch.no_grad():
        errors = [float(relative_error(module(x), blocks.folded[result.block](x))) for x, _ in held]
    assert result.error == pytest.approx(sum(errors) / 2, rel=1e-3)
    assert result.method == ("gradient" if epochs else "reconstruction")


# ---- what a result is made from --------------------------------------------------------------------------------------
@pytest.mark.parametrize("change", [
    {"seed": 1}, {"learning_rate": 0.003}, {"closed_form_images": 2}, {"block_training_max_epoch": 3},
    {"data_name": "other"}, {"data_name": {"data.train.kwargs": "other"}},
], ids=lambda change: next(iter(change)))  # fmt: skip
def test_a_result_is_not_that_of_other_settings(tmp_path, change):
    retrain(tmp_path, block_training_max_epoch=0).train_all_blocks()
    assert retrain(tmp_path, block_training_max_epoch=0).stages[VARIANT].done
    assert not retrain(tmp_path, **{"block_training_max_epoch": 0, **change}).stages[VARIANT].done


def test_of_finished_steps_only_the_result_is_left(tmp_path):
    retrainer = retrain(tmp_path, learning_rate=1.0)
    retrainer.train_all_blocks()
    left = {path.name for path in (tmp_path / "trained" / VARIANT).iterdir()}
    assert left == {"stage.json", "results.json", f"{retrainer.blocks.block_names[0]}.pt"}


# ---- progress --------------------------------------------------------------------------------------------------------
def test_progress_counts_the_blocks_and_batches_there_are_and_ends_when_they_are_done(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(progress, "QUIET_SECONDS", 0.0)
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    retrain(tmp_path, block_training_max_epoch=1.5, learning_rate=1e-3).train_all_blocks()
    said = dict(re.findall(r"^(.+?): (\d+/\d+) ", capsys.readouterr().err, re.MULTILINE))
    steps = math.ceil(1.5 * 5)  # of five batches one image in twelve is set aside, none whole
    assert said == {"extract": "1/1", f"reconstruction, {VARIANT}": "1/1", "gradient": f"{steps}/{steps}"}
