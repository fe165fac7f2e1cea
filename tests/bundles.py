"""A small real bundle, made without the builder: three blocks with three variants each between a stem and a head."""

from __future__ import annotations

import io
import itertools
import warnings
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn as nn
from torch import Tensor

from legodnn.shared.bundle.archive import pack_program, split_archive
from legodnn.shared.bundle.blobs import BlobStore
from legodnn.shared.bundle.manifest import (
    BLOCK,
    ORIGINAL,
    TRUNK,
    Archive,
    InputSpec,
    Manifest,
    Predictor,
    Segment,
    SelfTest,
    SelfTestCase,
    StorageSpec,
    TensorSpec,
    Variant,
)
from legodnn.shared.bundle.tensors import encode_storages, tensor_to_bytes
from legodnn.shared.bundle.writer import write_bundle

WIDTHS = {ORIGINAL: 32, "sparsity=0.5": 16, "sparsity=0.75": 8}
COSTS = {ORIGINAL: 0.0, "sparsity=0.5": 0.01, "sparsity=0.75": 0.04}
INPUT = (1, 3, 16, 16)
BLOCKS = 3
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


def selections() -> list[dict[str, str]]:
    """All there are, from the originals to the smallest variants."""
    return [{f"block{i}": name for i, name in enumerate(names)} for names in itertools.product(WIDTHS, repeat=BLOCKS)]


class Inner(nn.Module):
    """Two convolutions beside a shortcut; the width inside is what variants differ in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(8, width, 3, padding=1), nn.Conv2d(width, 8, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.b(torch.relu(self.a(x))) + x)


class Head(nn.Module):
    """Scores of five classes."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.mean((2, 3)))


def archive_of(module: nn.Module, sample: Tensor) -> bytes:
    """A traced TorchScript archive; traced twice, since the first trace of a class names its type differently."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.jit.trace(module.eval(), sample, check_trace=False)
        torch.jit.save(torch.jit.trace(module.eval(), sample, check_trace=False), buffer)
    return buffer.getvalue()


class BundleMaker:
    """Makes the bundle; the eager modules it was made of stay for comparison in ``modules``.

    Its samples are tensors, or with ``pixels`` bytes that are read with `MEAN` and `STD`; every ``step``-th element of
    the expected outputs is stored.
    """

    def __init__(self, seed: int = 0, pixels: bool = False, step: int = 1) -> None:
        torch.manual_seed(seed)
        self.pixels, self.step = pixels, step
        self.blobs = BlobStore()
        stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU())
        self.modules: dict[str, dict[str, nn.Module]] = {"stem": {ORIGINAL: stem.eval()}}
        for i in range(BLOCKS):
            self.modules[f"block{i}"] = {name: Inner(width).eval() for name, width in WIDTHS.items()}
        self.modules["head"] = {ORIGINAL: Head().eval()}

    def answer(self, selection: dict[str, str], x: Tensor) -> Tensor:
        """What a selection computes, run eagerly."""
        with torch.no_grad():
            for name, row in self.modules.items():
                x = row[selection.get(name, ORIGINAL)](x)
        return x

    def variant(self, segment: str, name: str, sample: Tensor) -> Variant:
        """A variant with its archive in the blobs."""
        module = self.modules[segment][name]
        program, storages = split_archive(archive_of(module, sample))
        specs = tuple(StorageSpec(path, "float32", len(data) // 4, "float32") for path, data in storages.items())
        size = sum(p.numel() * 4 for p in module.parameters())
        return Variant(
            name=name,
            sparsity=0.0 if name == ORIGINAL else float(name.split("=")[1]),
            archive=Archive(
                self.blobs.add(pack_program(program)), self.blobs.add(encode_storages(storages, specs)), specs
            ),
            weight_bytes=size,
            activation_bytes=16 * 16 * 4 * (16 + WIDTHS.get(name, 8)),
            flops=2 * 256 * size // 4,
            parameters=size // 4,
            accuracy_loss=COSTS.get(name, 0.0),
            cost=COSTS.get(name, 0.0),
        )

    def segments(self) -> tuple[Segment, ...]:
        """The chain stem, blocks, head."""
        x, made = torch.randn(INPUT), []
        for i, (name, row) in enumerate(self.modules.items()):
            variants = tuple(self.variant(name, v, x) for v in row)
            kind = BLOCK if len(row) > 1 else TRUNK
            made.append(Segment(name, kind, (f"v{i}",), (f"v{i + 1}",), variants, (f"{name}.layer",)))
            with torch.no_grad():
                x = row[ORIGINAL](x)
        return tuple(made)

    def manifest(self) -> Manifest:
        """The manifest; its self-test covers the original, the smallest and a mixed selection."""
        segments = self.segments()
        mean, std = (MEAN, STD) if self.pixels else (None, None)
        spec = InputSpec(INPUT, "float32", "NCHW", mean, std, tuple("abcde"))
        stored = inputs = torch.randn(6, *INPUT[1:])
        if self.pixels:
            stored = torch.randint(0, 256, (6, *INPUT[2:], 3), dtype=torch.uint8)
            normal = (stored.permute(0, 3, 1, 2).float() / 255 - torch.tensor(MEAN).view(3, 1, 1))
            inputs = normal / torch.tensor(STD).view(3, 1, 1)
        names = list(WIDTHS)
        selections = [{f"block{i}": names[(k * i + k) % 3] for i in range(BLOCKS)} for k in range(3)]
        answers = [self.answer(s, inputs).flatten()[:: self.step] for s in selections]
        stored_answers = [self.blobs.add(tensor_to_bytes(y)) for y in answers]
        cases = tuple(SelfTestCase(s, (blob,)) for s, blob in zip(selections, stored_answers, strict=True))
        labels = tuple(self.answer({}, inputs).argmax(1).tolist())
        return Manifest(
            task="image classification",
            metric="top-1 accuracy",
            created_with={"legodnn": "0", "torch": str(torch.__version__)},
            input=spec,
            network_inputs=("v0",),
            network_outputs=(f"v{BLOCKS + 2}",),
            segments=segments,
            predictor=Predictor(0.9, ((0.0, 0.0), (0.06, 0.05), (0.12, 0.2)), 0.01, 0.02, 3),
            self_test=SelfTest(
                inputs=() if self.pixels else (self.blobs.add(tensor_to_bytes(stored)),),
                input_spec=TensorSpec("input", tuple(stored.shape), "uint8" if self.pixels else "float32"),
                labels=labels,
                output_specs=(TensorSpec("scores", (6, 5), "float32"),),
                cases=cases,
                tolerance=1e-4,
                pixels=self.blobs.add(tensor_to_bytes(stored)) if self.pixels else None,
                steps=() if self.step == 1 else (self.step,),
            ),
            precision="fp32",
            notes=(),
            blobs=(),
        )


def write(path: Path, seed: int = 0, pixels: bool = False) -> BundleMaker:
    """Write the small bundle."""
    maker = BundleMaker(seed, pixels)
    write_bundle(path, maker.manifest(), maker.blobs)
    return maker


def write_bare(path: Path) -> None:
    """Write the small bundle without samples."""
    maker = BundleMaker()
    manifest = maker.manifest()
    test = manifest.self_test
    maker.blobs.packed = maker.blobs.packed[: min(blob for blob, _, _ in test.blobs())]
    bare = replace(test, inputs=(), labels=(), cases=(), output_specs=())
    write_bundle(path, replace(manifest, self_test=bare), maker.blobs)
