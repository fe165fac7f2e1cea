"""The paper's walk-through: the calls of its tool, from a trained network to a network scaled on the device."""

import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader

from tests.integration.conftest import TOY


@pytest.fixture
def toy(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    names = {}
    exec(TOY, names)
    return names


def trained_teacher(toy):
    teacher = toy["network"]()
    optimizer = torch.optim.Adam(teacher.parameters(), 3e-3)
    for _ in range(6):
        for x, y in toy["train"]():
            optimizer.zero_grad()
            F.cross_entropy(teacher(x), y).backward()
            optimizer.step()
    return teacher.eval()


def test_walkthrough(toy, tmp_path):
    from legodnn.builder import (
        AutoBlockManager,
        BlockProfiler,
        BlockRetrainer,
        CommonModelManager,
        pack,
        set_random_seed,
    )
    from legodnn.runtime import LatencyEstimator, Network, ScalingOptimizer

    set_random_seed(0)
    teacher_model = trained_teacher(toy)
    train_loader, test_loader = toy["train"](), toy["test"]()
    input_size = (1, 3, 16, 16)
    compressed, trained = tmp_path / "compressed", tmp_path / "trained"

    model_manager = CommonModelManager()
    block_manager = AutoBlockManager(
        [0.0, 0.2, 0.4, 0.6, 0.8], teacher_model, model_manager, input_size, 0.125, "cpu", round_to=1
    )
    block_manager.extract_all_blocks(compressed)
    BlockRetrainer(
        teacher_model, block_manager, model_manager, compressed, trained, 2, train_loader, device="cpu"
    ).train_all_blocks()
    profile = BlockProfiler(
        teacher_model, block_manager, model_manager, trained, test_loader, input_size, "cpu"
    ).profile_all_blocks()
    pack(tmp_path / "toy.lgb", block_manager, trained, profile, test_loader)

    network = Network.open(tmp_path / "toy.lgb")
    LatencyEstimator(network).profile_all_blocks()
    optimizer = ScalingOptimizer(network)
    choice = optimizer.update_model(10, 4.5 * 1024**2)
    # Ten seconds and 4.5 MiB are plenty: the teacher itself.
    assert choice.selection == network.manifest.original_selection

    images = torch.cat([x for x, _ in DataLoader(test_loader.dataset, 32)])
    labels = torch.cat([y for _, y in DataLoader(test_loader.dataset, 32)])
    with torch.no_grad():
        expected = teacher_model(images)
    assert (network(images) - expected).norm() / expected.norm() < 1e-4

    tight = optimizer.update_model(10, 0.6 * choice.memory_bytes)
    assert tight.memory_bytes <= 0.6 * choice.memory_bytes
    measured = float((network(images).argmax(1) == labels).float().mean())
    assert measured > 0.6
    assert measured == pytest.approx(tight.accuracy, abs=0.15)
    network.close()
