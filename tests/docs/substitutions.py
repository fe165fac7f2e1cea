"""What blocks run with in the tests: smaller numbers, small networks, and the files that the blocks name.

Nothing here changes what a block says; options are added behind its own, and files are made where it expects them.
"""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from legodnn.shared.vision.images import write_image
from tests.docs.documents import ROOT, file_shown
from tests.unit.runtime.commands import memory_by_tables

GOLDEN = ROOT / "tests" / "golden" / "bundles" / "1.2"

BUNDLES = {"scenes.lgb": "semantic-segmentation"}
"""Which small bundle stands for a bundle that a block runs; image classification's for all others."""

NETWORK = """
from collections import OrderedDict

import torch
import torch.nn as nn


def layer(inputs, inner, outputs):
    return nn.Sequential(
        nn.Conv2d(inputs, inner, 3, padding=1), nn.BatchNorm2d(inner), nn.ReLU(),
        nn.Conv2d(inner, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(),
    )


def resnet():
    torch.manual_seed(0)
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
    stem = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU())
    return nn.Sequential(OrderedDict(stem=stem, layer1=layer(8, 16, 8), layer2=layer(8, 16, 8), head=head))
"""

DATA = """
import torch


def train_loader(count=4, size=16):
    generator = torch.Generator().manual_seed(1)
    return [
        (torch.randn(8, 3, size, size, generator=generator), torch.randint(0, 4, (8,), generator=generator))
        for _ in range(count)
    ]


test_loader = train_loader
"""

# ---- recipes --------------------------------------------------------------------------------------------------------
_SMALL = (
    "blocks.sparsity=[0.0, 0.6]", "distill.epochs=0.5", "distill.closed_form_images=16", "profile.compositions=2",
    "bundle.samples=2",
)  # fmt: skip
_FEW_GARMENTS = ("data.train.kwargs.count=64", "data.test.kwargs.last=32")

SETTINGS: dict[str, tuple[str, ...]] = {
    "image-classification": ("model.kwargs.width=8", "teacher.epochs=1", "blocks.max_ratio=0.5", *_SMALL),
    "my.toml": ("model.input=[1, 3, 16, 16]", "blocks.max_ratio=0.5", *_SMALL),
    "own.toml": ("teacher.epochs=1", "data.train.kwargs.count=64", "data.test.kwargs.count=32", *_SMALL),
}
"""What a recipe is built with."""


def _build(arguments: list[str]) -> list[str]:
    [recipe] = [a for a in arguments if a in SETTINGS] or [None]
    if recipe is not None and recipe.endswith(".toml") and not Path(recipe).exists():
        show(recipe)
    if recipe is None or not {"-o", "--output"} & set(arguments):
        return arguments
    values = [after for option, after in pairwise(arguments) if option == "--set"]
    for value in values:
        key, _, path = value.partition("=")
        if key in ("data.train", "data.test") and ":" not in path:
            make(path)
    settings = list(SETTINGS[recipe])
    if recipe == "image-classification" and not any(value.startswith("data.") for value in values):
        settings += _FEW_GARMENTS
    return [*arguments, "--no-timing", *(part for setting in settings for part in ("--set", setting))]


# ---- runs -----------------------------------------------------------------------------------------------------------
FRAMES = 2

_WITHOUT_FRAMES = {"--frames", "--info", "--self-test", "--evaluate", "doctor", "update", "--help", "--version"}

_NAME_FILES = {"--input", "--schedule", "--evaluate"}


def _run(arguments: list[str]) -> list[str]:
    for option, value in pairwise(["", *arguments]):
        path = value.rpartition("=")[2]
        if path.endswith(".lgb") or (option in _NAME_FILES and path != "-"):
            make(path)
    arguments = [_from_here(argument) for argument in arguments]
    for argument in arguments:
        if argument.endswith(".lgb"):
            memory_by_tables(argument.rpartition("=")[2])
    return arguments if _WITHOUT_FRAMES & set(arguments) else [*arguments, "--frames", str(FRAMES)]


def _from_here(argument: str) -> str:
    """Files of the repository are named from its root."""
    name, equals, path = argument.rpartition("=")
    return f"{name}{equals}{ROOT / path}" if path.startswith("tests/") else argument


def standard_input(arguments: Sequence[str]) -> bytes:
    """Frames for ``--input -``: raw pixels as ``--size`` says, or tensors."""
    if "--size" not in arguments:
        return _tensors()
    width, _, height = arguments[list(arguments).index("--size") + 1].partition("x")
    pixels = {"gray": 1.0, "gray8": 1.0, "yuv420p": 1.5, "yuvj420p": 1.5}
    each = pixels.get(arguments[list(arguments).index("--format") + 1], 3.0)
    return bytes(int(FRAMES * int(width) * int(height) * each))


def _tensors() -> bytes:
    return struct.pack(f"<{3 * 32 * 32}f", *[0.5] * (3 * 32 * 32)) * FRAMES


# ---- commands -------------------------------------------------------------------------------------------------------
EXAMPLES = 10
"""Of written data: as many as Fashion-MNIST has classes."""


def _write(arguments: list[str]) -> list[str]:
    return [*arguments, "--count", str(EXAMPLES)]


_PREPARED: dict[str, Callable[[list[str]], list[str]]] = {
    "legodnn-build": _build,
    "legodnn-run": _run,
    "legodnn.builder.zoo.write": _write,
}


def prepared(command: str, arguments: Sequence[str]) -> list[str]:
    """The arguments that a command runs with; the files that they name are made."""
    return _PREPARED[command](list(arguments))


# ---- files ----------------------------------------------------------------------------------------------------------
def _photos(path: Path) -> None:
    path.mkdir(parents=True)
    for number in range(FRAMES):
        write_image(str(path / f"{number}.png"), 28, 28, bytes([90 * number]) * 28 * 28)


def _classes(path: Path) -> None:
    for label in ("bag", "coat"):
        _photos(path / label)


def _raw(path: Path) -> None:
    path.write_bytes(_tensors())


def _budgets(path: Path) -> None:
    path.write_text("at,time,memory\n0s,10ms,12.5MiB\n", encoding="utf-8")


_FILES: dict[str, Callable[[Path], None]] = {
    "photos": _photos,
    "photos/train": _classes,
    "photos/test": _classes,
    "a.raw": _raw,
    "b.raw": _raw,
    "clip.raw": _raw,
    "budgets.csv": _budgets,
}


def make(name: str) -> None:
    """Make a file or folder that a block names, where it is not there yet."""
    path = Path(name)
    if path.exists() or name.startswith("tests/"):
        return
    if path.suffix == ".lgb":
        shutil.copyfile(GOLDEN / f"{BUNDLES.get(name, 'image-classification')}.lgb", path)
        return
    assert name in _FILES, f"nothing in tests/docs/substitutions.py stands for '{name}'"
    _FILES[name](path)


def show(name: str) -> None:
    """Write a file that a document shows, and what it needs beside it."""
    Path(name).write_text(file_shown(name), encoding="utf-8")
    if name == "own.toml":
        show("own.py")
    if name == "my.toml":
        names: dict[str, Any] = {}
        exec(NETWORK, names)
        torch.save(names["resnet"]().state_dict(), "resnet.pt")
        Path("my_networks.py").write_text(NETWORK, encoding="utf-8")
        Path("my_data.py").write_text(DATA, encoding="utf-8")


def names() -> dict[str, Any]:
    """What Python blocks find: a teacher, its loaders, and the bundles that they open."""
    found: dict[str, Any] = {"__name__": "document"}
    exec(NETWORK, found)
    exec(DATA, found)
    loader = found["train_loader"](size=32)
    make("fashion.lgb")
    make("network.lgb")
    return {"teacher_model": found["resnet"]().eval(), "train_loader": loader, "test_loader": loader}


def fashion(folder: Path) -> None:
    """Fashion-MNIST's four files, with patterns in the place of garments."""
    patches = torch.randint(60, 256, (10_000, 4, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    garments = torch.zeros(10_000, 28, 28, dtype=torch.uint8)
    garments[:, 6:22, 8:20] = patches.repeat_interleave(4, 1).repeat_interleave(4, 2)
    labels = torch.arange(10_000).remainder(10).byte()
    for prefix, times in (("train", 6), ("t10k", 1)):
        for name, values in (("images-idx3", garments), ("labels-idx1", labels)):
            shape = (times * len(values), *values.shape[1:])
            head = struct.pack(f">BBBB{len(shape)}I", 0, 0, 8, len(shape), *shape)
            (folder / f"{prefix}-{name}-ubyte").write_bytes(head + values.numpy().tobytes() * times)
    os.environ["FASHION_MNIST"] = str(folder)
