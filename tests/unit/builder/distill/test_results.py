"""A descendant is judged by its error on the teacher's activations, and the reason says what really happened."""

import math

import pytest
import torch

from legodnn.builder import AutoBlockManager, BlockProfiler, BlockRetrainer, CommonModelManager, pack
from legodnn.builder.distill.gradient import ValidationErrors
from legodnn.builder.distill.results import FAILED, Step, best, trained_stages
from legodnn.shared.errors import WorkError
from tests.networks import images, network


def step(name, teacher_fed, path_fed=None):
    weights = {"block0": {"name": torch.tensor(float(len(name)))}}
    return Step(name, weights, ValidationErrors({"block0": teacher_fed}, {"block0": path_fed or teacher_fed}))


def chosen(*steps):
    result, weights = best("block0", "sparsity=0.5", list(steps))
    assert (weights is None) == (result.method == FAILED)
    return result


@pytest.mark.parametrize("path_fed", [50.0, math.inf, math.nan])
def test_a_path_that_earlier_blocks_have_broken_drops_no_variant(path_fed):
    result = chosen(step("reconstruction", 0.05, path_fed))
    assert (result.method, result.error) == ("reconstruction", 0.05)


@pytest.mark.parametrize(("teacher_fed", "reason"), [
    (1.0, "its relative error is 1.00, no better than a constant output, after reconstruction"),
    (math.inf, "its outputs overflow, after reconstruction"), (math.nan, "its outputs overflow, after reconstruction"),
])  # fmt: skip
def test_what_is_no_better_than_a_constant_is_left_out_and_the_reason_names_the_steps(teacher_fed, reason):
    result = chosen(step("reconstruction", teacher_fed, 0.0))
    assert (result.method, result.reason) == (FAILED, reason)
    both = chosen(step("reconstruction", 1.5), step("gradient", math.inf))
    assert both.reason == (
        "its relative error is 1.50, no better than a constant output, after reconstruction and after gradient"
    )


def test_the_better_step_is_kept_and_of_equal_ones_the_earlier():
    assert chosen(step("reconstruction", 0.2), step("gradient", 0.1)).method == "gradient"
    assert chosen(step("reconstruction", 0.1), step("gradient", 0.1)).method == "reconstruction"
    assert chosen(step("reconstruction", 0.1, 0.5), step("gradient", 0.15, 0.2)).method == "gradient"
    assert chosen(step("reconstruction", math.nan), step("gradient", 0.9)).method == "gradient"


def test_descendants_of_another_teacher_are_refused(tmp_path):
    def blocks_of(value):
        model = network("functional")
        next(model.parameters()).data += value
        return AutoBlockManager((0.5,), model, CommonModelManager(), (1, 3, 8, 8), 0.5, round_to=1)

    mine, other = blocks_of(0.0), blocks_of(1e-3)
    loader = [(images(32), torch.arange(32) % 4)]
    mine.extract_all_blocks(tmp_path / "compressed")
    where = (tmp_path / "compressed", tmp_path / "trained")
    results = BlockRetrainer(mine.teacher, mine, mine.model_manager, *where, 0, loader, seed=0).train_all_blocks()
    assert results
    assert set(trained_stages(mine, tmp_path / "trained")) == {"sparsity=0.5"}
    profiler = BlockProfiler(
        mine.teacher, mine, mine.model_manager, tmp_path / "trained", loader, (1, 3, 8, 8), compositions=2
    )
    profile = profiler.profile_all_blocks()
    stranger = BlockRetrainer(other.teacher, other, other.model_manager, *where, 0, loader, seed=0)
    with pytest.raises(WorkError, match=r"made from something else \(network's weights\); run extract_all_blocks"):
        stranger.train_all_blocks()
    profiler.blocks = other
    with pytest.raises(WorkError, match=r"made from something else \(network's weights\)"):
        profiler.profile_all_blocks()
    with pytest.raises(WorkError, match=r"made from something else \(network's weights\)"):
        pack(tmp_path / "x.lgb", other, tmp_path / "trained", profile, loader)
