"""The sample inputs of a bundle."""

from __future__ import annotations

from typing import List, Tuple

import torch
from torch import Tensor

from legodnn.shared.bundle.reader import BundleReader
from legodnn.shared.bundle.tensors import tensor_from_bytes


def samples(reader: BundleReader) -> Tuple[List[Tensor], Tuple[int, ...]]:
    """A batch for each input of the network, and their labels (empty for none)."""
    test = reader.manifest.self_test
    spec = test.input_spec
    return [tensor_from_bytes(reader.blob(blob), spec.shape, spec.dtype) for blob in test.inputs], test.labels


def sample_batch(reader: BundleReader, size: int) -> List[Tensor]:
    """The network's inputs with a batch of this size; samples repeat where there are too few."""
    inputs, _ = samples(reader)
    index = torch.arange(size) % inputs[0].shape[0]
    return [x[index].contiguous() for x in inputs]
