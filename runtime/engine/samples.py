"""The sample inputs of a bundle."""

from __future__ import annotations

from typing import List, Tuple

import torch
from torch import Tensor

from legodnn.runtime.engine.compare import relative_error
from legodnn.shared.bundle.manifest import InputSpec, SelfTestCase
from legodnn.shared.bundle.reader import BundleReader
from legodnn.shared.bundle.tensors import tensor_from_bytes
from legodnn.shared.errors import InputError
from legodnn.shared.vision.pixels import read_pixels


def samples(reader: BundleReader) -> Tuple[List[Tensor], Tuple[int, ...]]:
    """A batch for each input of the network, and their labels (empty for none).

    Samples that are pixels are read as frames of pixels are. Raises `InputError` for a bundle without samples.
    """
    test = reader.manifest.self_test
    spec = test.input_spec
    if not test.count:
        raise InputError(f"{reader.path}: the bundle carries no samples (bundle.samples = 0); give inputs of your own")
    if test.pixels is not None:
        pixels = tensor_from_bytes(reader.blob(test.pixels), spec.shape, spec.dtype)
        return [read_pixels(pixels, reader.manifest.input)], test.labels
    return [tensor_from_bytes(reader.blob(blob), spec.shape, spec.dtype) for blob in test.inputs], test.labels


def sample_batch(reader: BundleReader, size: int) -> List[Tensor]:
    """The network's inputs with a batch of this size; samples repeat where there are too few, and a bundle without
    samples gets normal random numbers, the same every time."""
    if not reader.manifest.self_test.count:
        return _random(reader, size)
    inputs, _ = samples(reader)
    index = torch.arange(size) % inputs[0].shape[0]
    return [x[index].contiguous() for x in inputs]


def touch_reading() -> None:
    """Read a picture, so that the code for it is in memory: 0.8 MiB that no selection can do anything about."""
    spec = InputSpec((1, 3, 8, 8), "float32", "NCHW", (0.5,), (0.5,), ())
    read_pixels(torch.zeros(1, 8, 8, 3, dtype=torch.uint8), spec)


def difference(reader: BundleReader, case: SelfTestCase, number: int, found: Tensor) -> float:
    """The relative error of an output of a self-test's case, by its number; infinite for another shape, for an output
    that was not expected, and for inf or NaN anywhere in it."""
    test = reader.manifest.self_test
    if number >= len(test.output_specs) or tuple(found.shape) != test.output_specs[number].shape:
        return float("inf")
    if not bool(torch.isfinite(found).all()):
        return float("inf")
    step, dtype = test.step_of_each[number], test.output_specs[number].dtype
    taken = found.flatten()[::step]
    return relative_error(taken, tensor_from_bytes(reader.blob(case.outputs[number]), tuple(taken.shape), dtype))


def _random(reader: BundleReader, size: int) -> List[Tensor]:
    spec, generator = reader.manifest.input, torch.Generator().manual_seed(0)
    dtype: torch.dtype = getattr(torch, spec.dtype)
    return [torch.randn(size, *spec.shape[1:], generator=generator).to(dtype) for _ in reader.manifest.network_inputs]
