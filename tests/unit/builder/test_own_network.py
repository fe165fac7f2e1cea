"""The guide's network of a user's own, the whole way: trained, built, run, and good for something."""

import sys

import pytest
import torch
import torch.nn.functional as F

from legodnn.builder.__main__ import main as build
from legodnn.runtime import Network, ScalingOptimizer
from legodnn.runtime.command.main import main as run
from tests.docs.documents import file_shown
from tests.unit.builder.conftest import modules_forgotten, write_garments
from tests.unit.runtime.commands import memory_by_tables

PAIRS = 256


@pytest.fixture
def own(tmp_path, monkeypatch):
    """The example's two files in the current folder, and garments: twelve patches each."""
    patches = torch.randint(60, 256, (10_000, 4, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    large = patches.repeat_interleave(4, 1).repeat_interleave(4, 2)
    write_garments(tmp_path, F.pad(large, (8, 8, 6, 6)))
    monkeypatch.setenv("FASHION_MNIST", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    for name in ("own.py", "own.toml"):
        (tmp_path / name).write_text(file_shown(name))
    with modules_forgotten(tmp_path):
        yield tmp_path


def test_the_network_of_the_guide_is_built_runs_and_finds_garments_again(own, capsys):
    data = ["train.kwargs={ split = 'test', count = 1024 }", f"test.kwargs={{ split = 'held-out', count = {PAIRS} }}"]
    settings = [part for text in data for part in ("--set", f"data.{text}")]
    assert build(["own.toml", "-o", "own.lgb", *settings, "--set", "profile.compositions=4"]) == 0
    example = sys.modules["own"]
    with Network.open("own.lgb") as network:
        assert (network.manifest.task, network.manifest.metric) == ("finding again", "recall")
        teacher = network.manifest.predictor.teacher_accuracy
        sizes = ScalingOptimizer(network, count_activations=False)
        smaller = sizes.update_model(None, 0.6 * sizes.choose().memory_bytes)
        assert any(variant != "original" for variant in smaller.selection.values())
        found = example.FinderManager().get_model_acc(network, example.pairs("held-out", PAIRS), "cpu")
    # Whoever guesses finds one of them.
    assert teacher > 0.4
    assert found > max(0.4, teacher - 0.15)
    capsys.readouterr()
    assert run([memory_by_tables("own.lgb"), "--frames", "2"]) == 0
    assert "frame 1: 1x64 in [" in capsys.readouterr().out
