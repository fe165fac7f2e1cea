"""Programs do not tell where in the source their classes and functions were, nor what the process made before."""

import importlib
import io
import sys
import textwrap

import pytest
import torch
import torch.nn as nn

from legodnn.builder import AutoBlockManager, CommonModelManager
from legodnn.builder.bundle.export import export
from legodnn.builder.graph.stored import prepare
from legodnn.shared.bundle.archive import join_archive
from legodnn.shared.errors import ModelError
from tests.networks import images, network

INPUT = torch.ones(1, 2, 3, 3)
TWICE = """
import torch

def twice(x: torch.Tensor) -> torch.Tensor:
    return x * 2
"""
PLUS = """
import torch.nn as nn
from torch import Tensor
{imports}

class Plus(nn.Module):
    def __init__(self, what: float):
        super().__init__()
        self.what = what

    def forward(self, x: Tensor) -> Tensor:
        return twice(x) + self.what
"""
WHOLE = """
import torch
import torch.nn as nn
from torch import Tensor
from torch.jit import script
{imports}

class Whole(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.other = script(Plus(1.0)), script(Plus(2.0))
        self.conv = nn.Conv2d(2, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.other(self.conv(self.one(x)))
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes modules into a package of its own and imports them."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(tmp_path)

    def written(name, text):
        path = tmp_path.joinpath(*name.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return importlib.import_module(name)

    yield written
    for name in set(sys.modules) - before:
        del sys.modules[name]


def program(module):
    """A module as it is in a bundle: the program's files, and the archive put together of them."""
    torch.manual_seed(0)
    exported = export(prepare(module(), "fp32"), [INPUT], "fp32")
    archive = join_archive(exported.program, exported.storages, (2, 1))
    return exported.program, torch.jit.load(io.BytesIO(archive))


def test_classes_and_functions_may_move_to_other_files(write):
    one = write("all_in_one", (TWICE + PLUS + WHOLE).format(imports=""))
    write("apart.deeply.first", TWICE)
    write("apart.second", PLUS.format(imports="from apart.deeply.first import twice"))
    other = write("apart.third", WHOLE.format(imports="from apart.second import Plus"))
    expected, loaded = program(one.Whole)
    moved, _ = program(other.Whole)
    assert moved == expected
    assert not any(b"all_in_one" in content for content in expected.values())
    assert {path.rpartition("/")[0] for path in expected if "/torch/" not in path and path.endswith(".py")} == {
        "code/__torch__",
        "code/__torch__/program",
    }
    torch.manual_seed(0)
    assert torch.allclose(loaded(INPUT), one.Whole()(INPUT))


def test_what_has_the_same_name_in_two_modules_stays_apart(write):
    write("first", (TWICE + PLUS).format(imports=""))
    write("second", (TWICE + PLUS).format(imports="").replace("x * 2", "x * 5"))
    both = """
    import torch.nn as nn
    from torch import Tensor
    import first, second
    from torch.jit import script

    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.other = script(first.Plus(1.0)), script(second.Plus(1.0))

        def forward(self, x: Tensor) -> Tensor:
            return self.other(self.one(x))
    """
    files, loaded = program(write("both", both).Both)
    assert "code/__torch__/program2.py" in files
    assert loaded(torch.ones(1)).item() == 16.0


def test_what_was_scripted_before_in_the_process_makes_no_difference(write):
    module = write("again", (TWICE + PLUS + WHOLE).format(imports=""))
    assert program(module.Whole)[0] == program(module.Whole)[0]


def test_denormal_weights_are_flushed_and_huge_ones_stay_single():
    layer = torch.nn.Linear(2, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1e-40, 1.0], [7e4, -1e-42]]))
        layer.bias.zero_()
    prepared = prepare(layer, "fp16")
    assert prepared.weight.tolist() == [[0.0, 1.0], [7e4, 0.0]]
    specs = {s.path: s for s in export(prepared, [torch.randn(1, 2)], "fp16").specs}
    assert sorted(s.stored for s in specs.values()) == ["float16", "float32"]


def test_exporting_depends_on_nothing_traced_before():
    blocks = AutoBlockManager((0.5,), network("functional"), CommonModelManager(), (1, 3, 8, 8), 0.5, round_to=1)
    name = blocks.block_names[0]
    module = prepare(blocks.folded[name], "fp32")
    first = export(module, blocks.example_inputs(name), "fp32")
    torch.jit.trace(torch.nn.Sequential(torch.nn.Conv2d(3, 3, 1), torch.nn.SiLU()), images(), check_trace=False)
    second = export(module, blocks.example_inputs(name), "fp32")
    assert first == second


@pytest.mark.parametrize(("error", "raised", "told"), [
    (ValueError("first line\nsecond line"), ModelError, "a segment cannot be written as TorchScript: first line"),
    (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), RuntimeError, "^CUDA out of memory"),
], ids=["any error", "a shortage"])  # fmt: skip
def test_what_torchscript_cannot_hold_is_told_but_a_shortage_of_memory_is_called_that(error, raised, told):
    class Broken(nn.Module):
        def forward(self, x):
            raise error

    with pytest.raises(raised, match=told) as caught:
        export(Broken(), [torch.zeros(1)], "fp32")
    assert "\n" not in str(caught.value)
