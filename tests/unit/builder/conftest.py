"""A folder to write recipes and the code they name into, forgotten after each test."""

import struct
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn as nn

PARTS = """
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


def network(classes=4, width=16):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(),
        nn.Conv2d(8, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(),
        nn.Conv2d(width, 8, 3, padding=1), nn.ReLU(),
        nn.Conv2d(8, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(),
        nn.Conv2d(width, 8, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, classes),
    )


def batches(count=4, shape=(3, 8, 8), size=8, classes=4):
    generator = torch.Generator().manual_seed(1)
    return [
        (torch.randn(size, *shape, generator=generator), torch.randint(0, classes, (size,), generator=generator))
        for _ in range(count)
    ]
"""

RECIPE = """
[model]
factory = "parts:network"
input = [1, 3, 8, 8]
[data]
train = "parts:batches"
test = "parts:batches"
[blocks]
sparsity = [0, 0.5]
max_ratio = 0.5
[distill]
epochs = 1
[profile]
compositions = 2
"""


class Folder:
    """Writes files; ``recipe`` is a whole one that builds within seconds."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.write("parts.py", PARTS)
        self.recipe = self.write("small.toml", RECIPE)

    def write(self, name: str, text: str) -> Path:
        """Write a file into the folder."""
        path = self.path / name
        path.write_text(textwrap.dedent(text))
        return path

    def network(self) -> nn.Module:
        """The network the recipe names."""
        names: dict[str, Any] = {}
        exec(PARTS, names)
        return names["network"]()


@contextmanager
def modules_forgotten(path: Path) -> Iterator[None]:
    """What recipes import from below a folder is gone again behind the ``with`` block."""
    before, places = set(sys.modules), list(sys.path)
    yield
    sys.path[:] = places
    for name in set(sys.modules) - before:
        if str(path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture
def folder(tmp_path):
    with modules_forgotten(tmp_path):
        yield Folder(tmp_path)


@pytest.fixture(scope="session")
def fashion(tmp_path_factory):
    """10,000 garments, blobs of noise, where the test images would be."""
    folder = tmp_path_factory.mktemp("fashion")
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(60, 256, (10_000, 28, 28), dtype=torch.uint8, generator=generator)
    pixels[:, :6] = pixels[:, 22:] = pixels[:, :, :8] = pixels[:, :, 20:] = 0
    write_garments(folder, pixels)
    return folder


def write_garments(folder: Path, pixels: torch.Tensor) -> None:
    """Write images, uint8 (n, 28, 28), as Fashion-MNIST's test images, of all ten classes in turn."""
    labels = torch.arange(len(pixels)).remainder(10).byte()
    for name, values in (("images-idx3", pixels), ("labels-idx1", labels)):
        head = struct.pack(f">BBBB{values.dim()}I", 0, 0, 8, values.dim(), *values.shape)
        (folder / f"t10k-{name}-ubyte").write_bytes(head + values.numpy().tobytes())
