"""Packing: all that the device needs, into one bundle."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor, fx

from legodnn.builder.blocks import AutoBlockManager
from legodnn.builder.bundle.export import PRECISIONS, export, prepare
from legodnn.builder.distill.paths import TeacherTap
from legodnn.builder.distill.results import FAILED, Result, read_results, trained_stages
from legodnn.builder.graph.run import compose
from legodnn.builder.profile.tables import Profile
from legodnn.builder.workdir.progress import progress
from legodnn.builder.workdir.stage import Stage
from legodnn.shared.bundle.archive import pack_program
from legodnn.shared.bundle.blobs import BlobStore
from legodnn.shared.bundle.manifest import (
    BLOCK,
    ORIGINAL,
    TRUNK,
    AnswerSpec,
    Archive,
    InputSpec,
    Manifest,
    Segment,
    SelfTest,
    SelfTestCase,
    TensorSpec,
    Variant,
)
from legodnn.shared.bundle.tensors import encode_storages, tensor_to_bytes
from legodnn.shared.bundle.writer import write_bundle
from legodnn.shared.console import version
from legodnn.shared.errors import DataError, UsageError
from legodnn.shared.vision.clips import usual_layout

TOLERANCE = 1e-4
"""The relative error, by norm, that a device's output may have in the self-test. Not tuned: errors between CPUs are
3e-6 at most (x86 to aarch64, torch 1.12 to 2.10)."""

SELF_TEST_SELECTIONS = 2
"""Measured compositions the self-test covers beside the teacher: the smallest, and the median. Not tuned; each adds its
outputs to the bundle."""


@dataclass(frozen=True)
class BundleOptions:
    """Options of a bundle.

    ``mean`` and ``std`` are the input's normalisation, ``layout`` (one of `LAYOUTS`) names its dimensions (None:
    `usual_layout`), ``skeleton`` the pairs of keypoints that are joined.
    """

    precision: str = "fp32"
    labels: Sequence[str] = ()
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    layout: str | None = None
    samples: int = 16
    skeleton: Sequence[tuple[int, int]] = ()


def pack(
    path: str | Path,
    block_manager: AutoBlockManager,
    trained_blocks_dir: str | Path,
    profile: Profile,
    sample_loader: Iterable[Any],
    options: BundleOptions | None = None,
) -> int:
    """Write the bundle of a trained and profiled network; returns its size in bytes.

    ``sample_loader`` gives the images of the self-test (its first batch). Raises `UsageError` for an unknown
    precision, `DataError` for a loader without batches, `OSError` where the file cannot be written.
    """
    options = options or BundleOptions()
    if options.precision not in PRECISIONS:
        raise UsageError(f"precision '{options.precision}' is not one of {', '.join(PRECISIONS)}")
    packer = _Packer(block_manager, profile, options)
    trained = trained_stages(block_manager, trained_blocks_dir)
    results = read_results(trained)
    packer.load(trained, results)
    segments = packer.segments()
    self_test = packer.self_test(sample_loader)
    manifest = Manifest(
        task=block_manager.model_manager.task,
        metric=block_manager.model_manager.metric,
        created_with={"legodnn": version(), "torch": str(torch.__version__)},
        input=packer.input_spec(),
        network_inputs=tuple(packer.names[n] for n in block_manager.graph.inputs),
        network_outputs=tuple(packer.names[n] for n in block_manager.graph.outputs),
        segments=segments,
        predictor=profile.predictor,
        self_test=self_test,
        precision=options.precision,
        notes=tuple(left_out(results, profile)),
        blobs=(),
        answer=packer.answer_spec(sample_loader),
    )
    return write_bundle(path, manifest, packer.blobs)


def left_out(results: Iterable[Result], profile: Profile | None = None) -> list[str]:
    """A line for every descendant that is of no use, and for what the profile left out."""
    failed = [f"{r.block} {r.variant}: left out, {r.reason}" for r in results if r.method == FAILED]
    return failed + (profile.left_out if profile else [])


class _Packer:
    """Turns segments into blobs and tables."""

    def __init__(self, blocks: AutoBlockManager, profile: Profile, options: BundleOptions) -> None:
        self.blocks = blocks
        self.profile = profile
        self.options = options
        self.blobs = BlobStore()
        self.names = _value_names(blocks)
        self.modules: dict[str, dict[str, nn.Module]] = {}

    def load(self, trained: Mapping[str, Stage], results: Sequence[Result]) -> None:
        """Load the weights of every variant, as `prepare` makes them for the device."""
        for segment in self.blocks.graph.segments:
            self.modules[segment.name] = {ORIGINAL: self.blocks.folded[segment.name]}
        for result in results:
            if result.method != FAILED and result.variant in self.profile.resources[result.block]:
                module = self.blocks.load(trained[result.variant], result.block, result.variant)
                self.modules[result.block][result.variant] = module
        precision = self.options.precision
        self.modules = {s: {v: prepare(m, precision) for v, m in row.items()} for s, row in self.modules.items()}

    def segments(self) -> tuple[Segment, ...]:
        """Every segment with all its variants; their archives are added to the blobs."""
        made = []
        with progress("pack", sum(len(row) for row in self.modules.values()), unit="variant") as bar:
            for segment in self.blocks.graph.segments:
                variants = []
                for name in self.modules[segment.name]:
                    variants.append(self._variant(segment.name, name))
                    bar.advance()
                made.append(
                    Segment(
                        name=segment.name,
                        kind=BLOCK if segment.is_block else TRUNK,
                        inputs=tuple(self.names[n] for n in segment.inputs),
                        outputs=tuple(self.names[n] for n in segment.outputs),
                        variants=tuple(variants),
                        layers=tuple(self.blocks.layers(segment.name)),
                    )
                )
        return tuple(made)

    def _variant(self, segment: str, name: str) -> Variant:
        exported = export(
            self.modules[segment][name], self.blocks.example_inputs(segment), self.options.precision
        )
        archive = Archive(
            program=self.blobs.add(pack_program(exported.program)),
            tensors=self.blobs.add(encode_storages(exported.storages, exported.specs)),
            storages=exported.specs,
        )
        measured = self.profile.resources[segment][name]
        return Variant(
            name=name,
            sparsity=self.blocks.sparsity_of(name),
            archive=archive,
            weight_bytes=measured.weight_bytes,
            activation_bytes=measured.activation_bytes,
            flops=measured.flops,
            parameters=measured.parameters,
            accuracy_loss=self.profile.accuracy_loss.get(segment, {}).get(name, 0.0),
            cost=self.profile.distortion.get(segment, {}).get(name, 0.0),
        )

    def input_spec(self) -> InputSpec:
        """The network's input, from the options and the block manager."""
        mean, std = self.options.mean, self.options.std
        return InputSpec(
            shape=self.blocks.input_size,
            dtype="float32",
            layout=self.options.layout or usual_layout(self.blocks.input_size),
            mean=tuple(map(float, mean)) if mean else None,
            std=tuple(map(float, std)) if std else None,
            labels=tuple(self.options.labels),
        )

    def answer_spec(self, loader: Iterable[Any]) -> AnswerSpec:
        """How the teacher's outputs are to be read, from its manager, with the options' skeleton."""
        blocks = self.blocks
        originals = {name: row[ORIGINAL] for name, row in self.modules.items()}
        found = blocks.model_manager.answer_spec(compose(blocks.graph, originals, {}), loader, "cpu")
        return replace(found, skeleton=tuple(self.options.skeleton) or found.skeleton)

    def self_test(self, loader: Iterable[Any]) -> SelfTest:
        """Sample inputs with the outputs of the teacher and of some selections. Raises `DataError` for a loader without
        batches."""
        inputs, labels = self._samples(loader)
        first = inputs[0]
        selections = [{b: ORIGINAL for b in self.blocks.block_names}, *self._measured_selections()]
        cases, specs = [], None
        for selection in selections:
            outputs = self._answers(selection, inputs)
            specs = tuple(
                TensorSpec(self.names[n], tuple(o.shape), str(o.dtype).removeprefix("torch."))
                for n, o in zip(self.blocks.graph.outputs, outputs, strict=True)
            )
            numbers = tuple(self.blobs.add(tensor_to_bytes(o)) for o in outputs)
            cases.append(SelfTestCase(dict(selection), numbers))
        return SelfTest(
            inputs=tuple(self.blobs.add(tensor_to_bytes(x)) for x in inputs),
            input_spec=TensorSpec("input", tuple(first.shape), "float32"),
            labels=labels,
            output_specs=specs or (),
            cases=tuple(cases),
            tolerance=TOLERANCE,
        )

    def _samples(self, loader: Iterable[Any]) -> tuple[list[Tensor], tuple[int, ...]]:
        data = next(iter(loader), None)
        if data is None:
            raise DataError("the sample loader yields no batches")
        batch = next(iter(TeacherTap(self.blocks).batches(self.blocks, [data])))
        read = [batch.teacher[node] for node in self.blocks.graph.inputs]
        inputs = [x[: self.options.samples].float().cpu().contiguous() for x in read]
        labels = data[1] if isinstance(data, (tuple, list)) and len(data) > 1 else None
        if isinstance(labels, Tensor) and labels.dim() == 1 and not labels.is_floating_point():
            return inputs, tuple(int(v) for v in labels[: len(inputs[0])])
        return inputs, ()

    def _measured_selections(self) -> list[Mapping[str, str]]:
        selections = [m["selection"] for m in sorted(self.profile.compositions, key=lambda m: -m["distortion"])]
        chosen = [selections[0], selections[len(selections) // 2]] if selections else []
        unique = [s for i, s in enumerate(chosen) if s not in chosen[:i] and set(s.values()) != {ORIGINAL}]
        return unique[:SELF_TEST_SELECTIONS]

    def _answers(self, selection: Mapping[str, str], inputs: Sequence[Tensor]) -> list[Tensor]:
        chosen = {block: self.modules[block][variant] for block, variant in selection.items()}
        originals = {name: row[ORIGINAL] for name, row in self.modules.items()}
        with torch.no_grad():
            return compose(self.blocks.graph, originals, chosen).outputs(*inputs)


def _value_names(blocks: AutoBlockManager) -> dict[fx.Node, str]:
    """Short names for the values between segments: x0, x1, ... for inputs, v0, v1, ... for the rest."""
    names = {node: f"x{i}" for i, node in enumerate(blocks.graph.inputs)}
    for segment in blocks.graph.segments:
        for node in segment.outputs:
            names[node] = f"v{len(names) - len(blocks.graph.inputs)}"
    return names
