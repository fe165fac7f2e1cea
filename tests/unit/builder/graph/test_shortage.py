"""Out of memory is called that: no module is kept whole for it, no network, loader or file is blamed."""

import pytest
import torch
import torch.nn as nn

from legodnn.builder import AutoBlockManager, CommonModelManager
from legodnn.builder.bundle.export import export
from legodnn.builder.distill.paths import TeacherTap
from legodnn.builder.graph.tracing.trace import trace
from legodnn.builder.workdir import files
from legodnn.shared.errors import LegoError, is_shortage
from tests.networks import conv, images, network

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
