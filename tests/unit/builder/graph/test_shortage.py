"""Out of memory is called that: no module is kept whole for it, no network, loader or file is blamed."""

import pytest
import torch
import torch.nn as nn

from legodnn.builder import AutoBlockManager, CommonModelManager
from legodnn.builder.bundle.export import export
from legodnn.builder.data.checked import CheckedLoader
from legodnn.builder.distill.gradient import validate
from legodnn.builder.distill.paths import TeacherTap
from legodnn.builder.graph.tracing.trace import trace
from legodnn.builder.profile.recording import Recording
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


def test_weights_are_not_called_damaged_for_it(tmp_path, monkeypatch):
    torch.save({}, tmp_path / "w.pt")
    recipe = load_recipe("resnet18", [f"model.weights={tmp_path / 'w.pt'}"])

    def short(*args, **kwargs):
        raise RuntimeError(TEXT)

    monkeypatch.setattr(torch, "load", short)
    with pytest.raises(RuntimeError, match="CUDA out of memory") as caught:
        build_model(recipe)
    assert not isinstance(caught.value, LegoError)


def test_no_layout_is_chosen_for_it():
    blocks = AutoBlockManager([0.5], network("gated"), CommonModelManager(), (1, 3, 8, 8), 0.5)
    blocks.folded[blocks.graph.segments[0].name] = Short(0)
    with pytest.raises(RuntimeError, match="CUDA out of memory"):
        _ = blocks.layout


def test_a_loader_without_memory_is_named_with_the_remedy():
    def batches():
        yield images(4), torch.zeros(4).long()
        raise RuntimeError(TEXT)

    loader = CheckedLoader(batches(), (1, 3, 8, 8), "data.train")
    text = "data.train: batch 1 does not fit into memory; make its batches smaller"
    with pytest.raises(MemoryError, match=text) as caught:
        [None for _ in loader]
    assert is_shortage(caught.value)


def test_a_batch_that_does_not_fit_its_descendants_is_named_with_the_remedy():
    blocks = AutoBlockManager([0.5], network("gated"), CommonModelManager(), (1, 3, 8, 8), 0.5)
    [variant] = blocks.descendant_names
    modules = {variant: {block: Short(0) for block in blocks.block_names}}
    with pytest.raises(MemoryError, match="a batch of 6 does not fit; make the loader's batches smaller") as caught:
        validate(blocks, modules, TeacherTap(blocks).batches(blocks, [(images(6), None)]))
    assert is_shortage(caught.value)


def test_a_test_batch_that_does_not_fit_is_named_with_the_remedy():
    blocks = AutoBlockManager([0.5], network("gated"), CommonModelManager(), (1, 3, 8, 8), 0.5)
    loader = [(images(6), torch.arange(6) % 4)]
    recording = Recording(blocks, blocks.model_manager, loader)
    text = "a batch of the test loader does not fit; make its batches smaller"
    with pytest.raises(MemoryError, match=text) as caught:
        recording.evaluate({blocks.block_names[0]: Short(0)})
    assert is_shortage(caught.value)


def test_a_function_that_a_recipe_names_is_not_said_to_have_failed(tmp_path):
    (tmp_path / "short.py").write_text(f"def make():\n    raise RuntimeError({TEXT!r})\n")
    (tmp_path / "r.toml").write_text('[model]\nfactory = "short:make"\ninput = [1, 3, 8, 8]\n')
    with modules_forgotten(tmp_path), pytest.raises(MemoryError, match=r"model\.factory: 'short:make': CUDA out of"):
        build_model(load_recipe(str(tmp_path / "r.toml")))
