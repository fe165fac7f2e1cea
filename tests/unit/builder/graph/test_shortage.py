"""Out of memory is called that: no module is kept whole for it, no network, loader or file is blamed."""

import pytest
import torch
import torch.nn as nn

from legodnn.builder import AutoBlockManager, CommonModelManager
from legodnn.builder.bundle.export import export
from legodnn.builder.data.checked import CheckedLoader
from legodnn.builder.distill.gradient import Trainer, train_batch
from legodnn.builder.distill.paths import TeacherTap
from legodnn.builder.graph.tracing.trace import trace
from legodnn.builder.recipe.load import load_recipe
from legodnn.builder.recipe.resolve import build_model
from legodnn.builder.workdir import files
from legodnn.shared.errors import LegoError, is_shortage
from tests.networks import conv, images, network
from tests.unit.builder.conftest import modules_forgotten

TEXT = "CUDA out of memory. Tried to allocate 20.00 MiB"


class Short(nn.Module):
    def __init__(self, room):
        super().__init__()
        self.a, self.b, self.room = conv(3, 8), conv(8, 4), room

    def forward(self, x):
        if len(x) > self.room:
            raise RuntimeError(TEXT)
        return self.b(torch.relu(self.a(x)))


@pytest.mark.parametrize("model", [Short(0), nn.Sequential(conv(3, 3), Short(0))], ids=["top", "inside"])
def test_no_module_is_blamed_for_it_while_tracing(model):
    with pytest.raises(RuntimeError, match="CUDA out of memory") as caught:
        trace(model.eval(), [images(2)])
    assert not isinstance(caught.value, LegoError)


def test_a_batch_that_does_not_fit_is_named_with_the_remedy(monkeypatch):
    blocks = AutoBlockManager([0.5], network("gated"), CommonModelManager(), (1, 3, 8, 8), 0.5)
    tap = TeacherTap(blocks)

    def short(model, batch, device):
        raise RuntimeError(TEXT)

    monkeypatch.setattr(blocks.model_manager, "forward_to_gen_mid_data", short)
    with pytest.raises(MemoryError, match="batch 0 of the loader does not fit; make its batches smaller") as caught:
        next(iter(tap.batches(blocks, [(images(), None)])))
    assert is_shortage(caught.value)


def test_a_segment_is_not_blamed_for_it_while_it_is_written():
    with pytest.raises(RuntimeError, match="CUDA out of memory") as caught:
        export(Short(0), [images()], "fp32")
    assert not isinstance(caught.value, LegoError)


def test_a_file_is_not_called_damaged_for_it(tmp_path, monkeypatch):
    files.save_tensors(tmp_path / "x.pt", {"a": torch.ones(2)})

    def short(*args, **kwargs):
        raise MemoryError("not enough memory")

    monkeypatch.setattr(torch, "load", short)
    with pytest.raises(MemoryError):
        files.load_tensors(tmp_path / "x.pt")


def test_neither_data_nor_weights_nor_functions_are_blamed_for_it(tmp_path, monkeypatch):
    def short(*args, **kwargs):
        raise RuntimeError(TEXT)

    class Loader:
        def __iter__(self):
            yield images(), torch.zeros(2)
            short()

    with pytest.raises(MemoryError, match=r"data\.train: batch 1 does not fit; make its batches smaller") as caught:
        [batch for batch in CheckedLoader(Loader(), (1, 3, 8, 8), "data.train")]
    assert is_shortage(caught.value)
    (tmp_path / "short.py").write_text(f"def make():\n    raise RuntimeError({TEXT!r})\n")
    (tmp_path / "r.toml").write_text('[model]\nfactory = "short:make"\ninput = [1, 3, 8, 8]\n')
    with modules_forgotten(tmp_path), pytest.raises(MemoryError, match=r"model\.factory: 'short:make': CUDA out of"):
        build_model(load_recipe(str(tmp_path / "r.toml")))
    (tmp_path / "w.pt").touch()
    options = ["model.factory=torchvision:resnet18", f"model.weights={tmp_path / 'w.pt'}"]
    recipe = load_recipe(str(tmp_path / "r.toml"), options)
    monkeypatch.setattr(torch, "load", short)
    with pytest.raises(RuntimeError, match="CUDA out of memory") as caught:
        build_model(recipe)
    assert not isinstance(caught.value, LegoError)


def test_the_layout_of_images_is_not_chosen_by_it(monkeypatch):
    blocks = AutoBlockManager([0.5], network("gated"), CommonModelManager(), (1, 3, 8, 8), 0.5)
    for module in blocks.folded.values():
        module.forward = Short(0).forward
    with pytest.raises(RuntimeError, match="CUDA out of memory"):
        blocks.layout  # noqa: B018


def test_a_gradient_step_that_does_not_fit_names_the_remedy():
    blocks = AutoBlockManager([0.5], network("gated"), CommonModelManager(), (1, 3, 8, 8), 0.5)
    [variant] = blocks.descendant_names
    modules = {block: blocks.derive(block, variant).module for block in blocks.block_names}
    trainer = Trainer(blocks, variant, modules, rate=0.1, steps=1, seed=0)
    for module in modules.values():
        module.forward = Short(0).forward
    [batch] = TeacherTap(blocks).batches(blocks, [(images(), torch.zeros(2))])
    with pytest.raises(MemoryError, match="make the training batches smaller"):
        train_batch(blocks, [trainer], batch)
