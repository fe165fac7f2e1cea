"""Closed form and gradient make descendants better; what fails is retried, then left out, never swallowed."""

import math
import re

import numpy as np
import pytest
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

from legodnn.builder import AutoBlockManager, BlockRetrainer, CommonModelManager, set_random_seed
from legodnn.builder.distill import gradient, reconstruction, retrainer
from legodnn.builder.distill import results as results_module
from legodnn.builder.distill.results import trained_stages
from legodnn.builder.graph.channels.analysis import analyse
from legodnn.builder.graph.tracing.trace import trace
from legodnn.builder.managers.loss import relative_error
from legodnn.builder.prune.derive import derive
from legodnn.shared.errors import DataError, WorkError
from tests.networks import conv, images, network


def manager(name="gated", sparsities=(0.0, 0.25, 0.5)):
    return AutoBlockManager(sparsities, network(name), CommonModelManager(), (1, 3, 8, 8), 0.5, round_to=1)


def batches(count=5, size=16):
    return [(images(size, seed=i), torch.arange(size) % 4) for i in range(count)]


def retrain(folder, blocks=None, loader=None, epochs=2, seed=0, **kwargs):
    blocks = blocks or manager()
    blocks.extract_all_blocks(folder / "compressed")
    loader = batches() if loader is None else loader
    return BlockRetrainer(
        blocks.teacher, blocks, blocks.model_manager, folder / "compressed", folder / "trained", epochs, loader,
        seed=seed, **kwargs,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (conv(3, 8), conv(8, 5)),
        (conv(3, 8), nn.Conv2d(8, 6, 3, stride=2, padding=2, dilation=2)),
        (conv(3, 8), conv(8, 8, groups=2)),
        (conv(3, 8), conv(8, 4, bias=False)),
        (conv(3, 8), nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))),
    ],
    ids=["plain", "strided dilated", "grouped", "without bias", "linear"],
)
def test_reconstruction_recovers_a_block_whose_channels_were_redundant(first, second, monkeypatch):
    monkeypatch.setattr(reconstruction, "RIDGE", 1e-6)
    generator = torch.Generator().manual_seed(0)
    for parameter in [*first.parameters(), *second.parameters()]:
        parameter.data = 0.3 * torch.randn(parameter.shape, generator=generator)
    # Odd channels repeat the even ones before them: they can go with little loss, once the reader is solved anew.
    with torch.no_grad():
        first.weight[1::2], first.bias[1::2] = first.weight[::2] * 0.9, first.bias[::2] * 0.9
    block = trace(nn.Sequential(first, second).eval(), [images()])
    channels = analyse(block)
    descendant = derive(block, channels, 0.5, round_to=1, importance=lambda c, g: -(np.arange(len(g.prunable)) % 2.0))
    x = images(32)
    before = relative_error(descendant.module(x), block(x))
    reconstruction.fit(block, descendant, channels, [reconstruction.Sample(x, x)])
    after = relative_error(descendant.module(x), block(x))
    assert before > 0.01
    assert after < 1e-3 * before


def test_reconstruction_makes_up_for_a_wrong_input_of_a_residual_block():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = conv(3, 16), conv(16, 3)

        def forward(self, x):
            return self.b(torch.relu(self.a(x))) + x

    torch.manual_seed(0)
    block = trace(Residual().eval(), [images()])
    channels = analyse(block)
    x = images(64)
    seen = x + 0.3 * x.flip(1)
    errors = {}
    for name, samples in {"teacher": [reconstruction.Sample(x, x)], "path": [reconstruction.Sample(seen, x)]}.items():
        descendant = derive(block, channels, 0.25, round_to=1)
        reconstruction.fit(block, descendant, channels, samples)
        errors[name] = float(relative_error(descendant.module(seen), block(x)))
    assert errors["path"] < 0.8 * errors["teacher"]


def test_the_loss_does_not_depend_on_the_scale_of_the_activations():
    answer, wanted = images(seed=1), images(seed=2)
    assert torch.allclose(relative_error(answer, wanted), relative_error(1e4 * answer, 1e4 * wanted))
    assert float(relative_error(wanted.mean().expand_as(wanted), wanted)) == pytest.approx(1.0)


def test_training_improves_every_descendant_and_keeps_the_better_step(tmp_path):
    blocks = manager()
    set_random_seed(0)
    results = retrain(tmp_path, blocks, epochs=4).train_all_blocks()
    expected = {(b, v) for b in blocks.block_names for v in blocks.descendant_names}
    assert {(r.block, r.variant) for r in results} == expected
    assert all(r.method in ("reconstruction", "gradient") and r.error < 1 for r in results)
    for result in results:
        trained = load(tmp_path, blocks, result.block, result.variant)
        untrained = blocks.derive(result.block, result.variant).module
        x = blocks.example_inputs(result.block)[0]
        wanted = blocks.folded[result.block](x)
        assert trained(x).shape == wanted.shape
        assert any(not torch.equal(a, b) for a, b in zip(trained.parameters(), untrained.parameters(), strict=True))


def load(folder, blocks, block, variant):
    return blocks.load(trained_stages(blocks, folder / "trained")[variant], block).module


def test_no_gradient_reaches_a_blocks_input(tmp_path, monkeypatch):
    seen = []
    original = gradient.Trainer.train_block

    def watch(self, segment, batch):
        original(self, segment, batch)
        seen.extend(v for v in batch.teacher.values())
        seen.extend(v for values in batch.paths.values() for v in values.values())

    monkeypatch.setattr(gradient.Trainer, "train_block", watch)
    retrain(tmp_path, epochs=1).train_all_blocks()
    assert seen
    assert not any(v.requires_grad for v in seen)


def test_same_seed_same_weights_and_other_seed_other_weights(tmp_path):
    data = TensorDataset(images(64), torch.arange(64) % 4)

    def weights(folder, seed):
        blocks = manager()
        retrain(tmp_path / folder, blocks, DataLoader(data, 16, shuffle=True), seed=seed).train_all_blocks()
        modules = [load(tmp_path / folder, blocks, b, v) for b in blocks.block_names for v in blocks.descendant_names]
        return [p for module in modules for p in module.parameters()]

    first, again, other = weights("a", 0), weights("b", 0), weights("c", 1)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_a_diverging_rate_is_noticed_and_never_gets_into_the_results(tmp_path):
    results = retrain(tmp_path, epochs=2, learning_rate=1.0).train_all_blocks()
    assert all(math.isfinite(r.error) for r in results)
    assert {r.method for r in results} <= {"reconstruction", "gradient, lower rate", "gradient"}
    assert any(r.method != "gradient" for r in results)


def test_a_descendant_that_cannot_be_trained_is_marked_failed(tmp_path, monkeypatch):
    monkeypatch.setattr(results_module, "USELESS", 0.0)
    results = retrain(tmp_path, epochs=0).train_all_blocks()
    assert {r.method for r in results} == {"failed"}
    told = re.compile(r"its relative error is 0\.\d\d, no better than a constant output, after reconstruction")
    assert all(told.fullmatch(r.reason) for r in results)


@pytest.mark.parametrize("kill_after", [1, 6, 9])
def test_an_interrupted_training_goes_on_to_the_same_result(tmp_path, monkeypatch, kill_after):
    retrain(tmp_path / "whole", epochs=3).train_all_blocks()
    steps = 0
    original = retrainer.train_batch

    def interrupted(blocks, trainers, batch):
        nonlocal steps
        steps += 1
        if steps == kill_after:
            raise KeyboardInterrupt
        original(blocks, trainers, batch)

    with monkeypatch.context() as patch:
        patch.setattr(retrainer, "train_batch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            retrain(tmp_path / "cut", epochs=3).train_all_blocks()
    retrain(tmp_path / "cut", epochs=3).train_all_blocks()
    for path in (tmp_path / "whole" / "trained").rglob("block*.pt"):
        other = tmp_path / "cut" / path.relative_to(tmp_path / "whole")
        mine, theirs = (torch.load(p, weights_only=True) for p in (path, other))
        assert all(torch.equal(mine["state"][k], theirs["state"][k]) for k in mine["state"])


def test_a_fraction_of_an_epoch_ends_within_it(tmp_path, monkeypatch):
    steps = []
    original = retrainer.train_batch

    def watch(blocks, trainers, batch):
        steps.append(trainers[0].steps)
        original(blocks, trainers, batch)

    monkeypatch.setattr(retrainer, "train_batch", watch)
    retrain(tmp_path / "whole", epochs=1).train_all_blocks()
    batches = len(steps)
    steps.clear()
    retrain(tmp_path / "part", epochs=1.5).train_all_blocks()
    assert batches > 2
    assert steps == [math.ceil(1.5 * batches)] * math.ceil(1.5 * batches)


def test_the_two_steps_are_compared_on_no_more_validation_images_than_it_takes(tmp_path, monkeypatch):
    judged = []
    original = retrainer.validate

    def watch(blocks, variants, batches):
        sizes = []
        judged.append(sizes)
        return original(blocks, variants, (sizes.append(len(next(iter(b.teacher.values())))) or b for b in batches))

    monkeypatch.setattr(retrainer, "validate", watch)
    data = DataLoader(TensorDataset(images(100), torch.arange(100) % 4), 2)
    retrain(tmp_path / "all", loader=data, epochs=0).train_all_blocks()
    monkeypatch.setattr(retrainer, "COMPARED", 5)
    retrain(tmp_path / "some", loader=data, epochs=0).train_all_blocks()
    assert judged == [[2, 2, 2, 2], [2, 2, 2]]


def test_a_finished_training_is_not_repeated(tmp_path, monkeypatch):
    first = retrain(tmp_path).train_all_blocks()
    monkeypatch.setattr(retrainer, "train_batch", None)
    assert retrain(tmp_path).train_all_blocks() == first


def test_other_settings_train_anew(tmp_path):
    retrain(tmp_path, epochs=1).train_all_blocks()
    assert not any(stage.done for stage in retrain(tmp_path, epochs=2).stages.values())


@pytest.mark.parametrize("loader", [[], [(torch.randn(4, 5, 8, 8), torch.zeros(4))]], ids=["empty", "wrong shape"])
def test_a_loader_the_network_cannot_take_is_a_data_error(tmp_path, loader):
    with pytest.raises(DataError):
        retrain(tmp_path, loader=loader).train_all_blocks()


def test_training_needs_the_extracted_blocks(tmp_path):
    blocks = manager()
    lonely = BlockRetrainer(
        blocks.teacher, blocks, blocks.model_manager, tmp_path / "none", tmp_path / "trained", 1, batches()
    )
    with pytest.raises(WorkError, match="extract_all_blocks"):
        lonely.train_all_blocks()


def test_a_layer_that_insists_on_the_usual_layout_gets_it(tmp_path):
    class Insists(nn.Module):
        def forward(self, x):
            return x.view(len(x), -1) if len(x) else x

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.odd, self.head = conv(3, 8), conv(8, 8), Insists(), nn.Linear(8 * 64, 4)

        def forward(self, x):
            return self.head(self.odd(self.b(torch.relu(self.a(x)))))

    blocks = AutoBlockManager([0.5], Network().eval(), CommonModelManager(), (1, 3, 8, 8), 0.5, round_to=1)
    assert "odd" in [str(n.target) for n in blocks.teacher.graph.nodes]
    assert blocks.layout == torch.contiguous_format
    assert all(r.method != "failed" for r in retrain(tmp_path, blocks, epochs=1).train_all_blocks())
