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
from legodnn.builder.bundle.export import export
from legodnn.builder.bundle.samples import (
    LOOKED_AT,
    SHARE,
    TOGETHER,
    Candidates,
    affordable,
    first_images,
    pictured,
    steps,
)
from legodnn.builder.distill.results import FAILED, Result, read_results, trained_stages
from legodnn.builder.graph.run import compose
from legodnn.builder.graph.stored import PRECISIONS, prepare
from legodnn.builder.profile.recheck import require_agreement
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
from legodnn.shared.bundle.reader import BundleReader
from legodnn.shared.bundle.tensors import encode_storages, tensor_to_bytes
from legodnn.shared.bundle.writer import write_bundle
from legodnn.shared.console import version
from legodnn.shared.errors import UsageError
from legodnn.shared.tasks.known import task_named
from legodnn.shared.tasks.samples import believable, right_answers
from legodnn.shared.vision.layouts import usual_layout

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
    `usual_layout`), ``samples`` the images of the self-test at most (0: none), ``skeleton`` the pairs of keypoints that
    are joined.
    """

    precision: str = "fp32"
    labels: Sequence[str] = ()
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    layout: str | None = None
    samples: int = 8
    skeleton: Sequence[tuple[int, int]] = ()


def pack(
    path: str | Path,
    block_manager: AutoBlockManager,
    trained_blocks_dir: str | Path,
    profile: Profile,
    sample_loader: Iterable[Any],
    options: BundleOptions | None = None,
    *,
    judged_on: Iterable[Any] | None = None,
) -> int:
    """Write the bundle of a trained and profiled network; returns its size in bytes.

    The samples of the self-test are the first images of ``sample_loader``. ``judged_on`` is the loader that was
    profiled on; where it is given, the teacher is judged on its first batches once more and must agree with the
    profile.

    Raises `UsageError` for an unknown precision, `OSError` where the file cannot be written, `DataError` for a loader
    without batches, for one on which the teacher is another than in the profile, and for a mean and std that do not
    belong to the samples.
    """
    options = options or BundleOptions()
    if options.precision not in PRECISIONS:
        raise UsageError(f"precision '{options.precision}' is not one of {', '.join(PRECISIONS)}")
    packer = _Packer(block_manager, profile, options)
    trained = trained_stages(block_manager, trained_blocks_dir)
    results = read_results(trained)
    packer.load(trained, results)
    packer.recheck(judged_on)
    segments = packer.segments()
    self_test = packer.self_test(sample_loader, segments)
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
        notes=(*left_out(results, profile), *packer.notes),
        blobs=(),
        answer=packer.answer_spec(sample_loader),
    )
    return write_bundle(path, manifest, packer.blobs)


def left_out(results: Iterable[Result], profile: Profile | None = None) -> list[str]:
    """A line for every descendant that is of no use, and for what the profile left out."""
    failed = [f"{r.block} {r.variant}: left out, {r.reason}" for r in results if r.method == FAILED]
    return failed + (profile.left_out if profile else [])


def bundle_notes(path: str | Path) -> tuple[str, ...]:
    """The remarks in a bundle: descendants that were left out, and how its samples are. Raises as `BundleReader`."""
    with BundleReader(path) as reader:
        return reader.manifest.notes


class _Packer:
    """Turns segments into blobs and tables."""

    def __init__(self, blocks: AutoBlockManager, profile: Profile, options: BundleOptions) -> None:
        self.blocks = blocks
        self.profile = profile
        self.options = options
        self.blobs = BlobStore()
        self.names = _value_names(blocks)
        self.modules: dict[str, dict[str, nn.Module]] = {}
        self.notes: list[str] = []

    def load(self, trained: Mapping[str, Stage], results: Sequence[Result]) -> None:
        """Load the weights of every variant, as `prepare` makes them for the device."""
        for segment in self.blocks.graph.segments:
            self.modules[segment.name] = {ORIGINAL: self.blocks.folded[segment.name]}
        for result in results:
            if result.method != FAILED and result.variant in self.profile.resources[result.block]:
                module = self.blocks.load(trained[result.variant], result.block).module
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

    def recheck(self, loader: Iterable[Any] | None) -> None:
        """Judge the teacher on a loader's first batches once more. Raises `DataError` where it is not as in the
        profile."""
        found, precision = self.profile.recheck, self.profile.precision
        if precision != self.options.precision:
            self.notes.append(f"accuracies were measured with weights in {precision}")
        if found is None or loader is None:
            return
        originals = self._originals()
        if precision != self.options.precision:
            originals = {name: prepare(module, precision) for name, module in self.blocks.folded.items()}
        teacher = compose(self.blocks.graph, originals, {})
        require_agreement(found, self.blocks.model_manager, teacher, loader, "cpu")

    def answer_spec(self, loader: Iterable[Any]) -> AnswerSpec:
        """How the teacher's outputs are to be read, from its manager, with the options' skeleton."""
        blocks = self.blocks
        found = blocks.model_manager.answer_spec(compose(blocks.graph, self._originals(), {}), loader, "cpu")
        return replace(found, skeleton=tuple(self.options.skeleton) or found.skeleton)

    def self_test(self, loader: Iterable[Any], segments: Sequence[Segment]) -> SelfTest:
        """Samples with the outputs of the teacher and of some selections. Raises `DataError` for a loader without
        batches, and for a mean and std that do not belong to its images."""
        if not self.options.samples:
            self.notes.append("no samples (bundle.samples = 0): a device has nothing to compare its results with")
            return SelfTest((), TensorSpec("input", self.blocks.input_size, "float32"), (), (), (), TOLERANCE)
        teacher = {b: ORIGINAL for b in self.blocks.block_names}
        selections = [teacher, *self._measured_selections()]
        limit = SHARE * sum(s.stored_bytes for segment in segments for s in segment.original.archive.storages)
        chosen = self._samples(loader, len(selections), limit)
        first = chosen.stored[0]
        answers = [self._answers(selection, chosen.inputs) for selection in selections]
        left = limit - sum(x.numel() * x.element_size() for x in chosen.stored)
        if left < 0:
            self.notes.append(f"a single sample weighs {SHARE - left / limit * SHARE:.0%} of the teacher's weights")
        found = steps(answers[0], len(selections), left)
        cases = []
        for selection, outputs in zip(selections, answers, strict=True):
            thinned = [o.flatten()[::step] for o, step in zip(outputs, found or (1,) * len(outputs), strict=True)]
            cases.append(SelfTestCase(dict(selection), tuple(self.blobs.add(tensor_to_bytes(o)) for o in thinned)))
        numbers = tuple(self.blobs.add(tensor_to_bytes(x)) for x in chosen.stored)
        pictures = chosen.pixels is not None
        return SelfTest(
            inputs=() if pictures else numbers,
            input_spec=TensorSpec("pixels" if pictures else "input", tuple(first.shape), _dtype(first)),
            labels=() if chosen.labels is None else tuple(chosen.labels.tolist()),
            output_specs=tuple(
                TensorSpec(self.names[n], tuple(o.shape), _dtype(o))
                for n, o in zip(self.blocks.graph.outputs, answers[0], strict=True)
            ),
            cases=tuple(cases),
            tolerance=TOLERANCE,
            pixels=numbers[0] if pictures else None,
            steps=found,
        )

    def _samples(self, loader: Iterable[Any], cases: int, limit: float) -> Candidates:
        """The samples of the self-test, as many as are asked for and fit into ``limit`` bytes with their outputs."""
        asked, original = self.options.samples, {b: ORIGINAL for b in self.blocks.block_names}
        found = first_images(self.blocks, loader, max(asked, min(LOOKED_AT * asked, TOGETHER)))
        found = pictured(found, self.input_spec(), lambda inputs: self._answers(original, inputs))
        if found.pixels is None:
            self.notes.append(f"samples are tensors, so that the reading of frames is not tested: {found.reason}")
        one = found.part(0, 1)
        size = sum(x.numel() * x.element_size() for x in one.stored)
        asked = min(asked, len(found))
        count = affordable(asked, size, self._answers(original, one.inputs), cases, limit)
        if count < asked:
            share = f"{SHARE:.0%} of the teacher's weights"
            self.notes.append(f"{count} of {asked} samples: they and their expected outputs weigh at most {share}")
        return self._believable(found, count)

    def _believable(self, found: Candidates, count: int) -> Candidates:
        """The first ``count`` samples in a row that a device believes the teacher's accuracy on; without labels where
        there are none, as in a data set that begins with a class the teacher is bad at."""
        manager, accuracy = self.blocks.model_manager, self.profile.teacher_accuracy
        if found.labels is None or task_named(manager.task) is None:
            return found.part(0, count)
        original = {b: ORIGINAL for b in self.blocks.block_names}
        parts = [found.part(start, TOGETHER).inputs for start in range(0, len(found), TOGETHER)]
        outputs = [torch.cat(column) for column in zip(*(self._answers(original, p) for p in parts), strict=True)]
        for start in range(len(found) - count + 1):
            labels = found.labels[start : start + count].tolist()
            right = right_answers(manager.task, [o[start : start + count] for o in outputs], labels)
            if believable(manager.task, manager.metric, accuracy, right, count):
                return found.part(start, count)
        self.notes.append("the samples have no labels: the teacher is worse on the first test images than on all")
        return replace(found.part(0, count), labels=None)

    def _originals(self) -> dict[str, nn.Module]:
        return {name: row[ORIGINAL] for name, row in self.modules.items()}

    def _measured_selections(self) -> list[Mapping[str, str]]:
        selections = [m["selection"] for m in sorted(self.profile.compositions, key=lambda m: -m["distortion"])]
        chosen = [selections[0], selections[len(selections) // 2]] if selections else []
        unique = [s for i, s in enumerate(chosen) if s not in chosen[:i] and set(s.values()) != {ORIGINAL}]
        return unique[:SELF_TEST_SELECTIONS]

    def _answers(self, selection: Mapping[str, str], inputs: Sequence[Tensor]) -> list[Tensor]:
        chosen = {block: self.modules[block][variant] for block, variant in selection.items()}
        with torch.no_grad():
            return compose(self.blocks.graph, self._originals(), chosen).outputs(*inputs)


def _dtype(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")


def _value_names(blocks: AutoBlockManager) -> dict[fx.Node, str]:
    """Short names for the values between segments: x0, x1, ... for inputs, v0, v1, ... for the rest."""
    names = {node: f"x{i}" for i, node in enumerate(blocks.graph.inputs)}
    for segment in blocks.graph.segments:
        for node in segment.outputs:
            names[node] = f"v{len(names) - len(blocks.graph.inputs)}"
    return names
