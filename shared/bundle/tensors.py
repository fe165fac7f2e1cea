"""Tensors as blobs: storages of an archive, and sample tensors. Without numpy, which devices may lack."""

from __future__ import annotations

import ctypes
from itertools import groupby
from typing import Dict, Mapping, Sequence, Tuple

import torch
from torch import Tensor

from legodnn.shared.bundle.blobs import Buffer, join_planes, split_planes
from legodnn.shared.bundle.manifest import DTYPES, StorageSpec, TensorSpec
from legodnn.shared.errors import BundleError


def encode_storages(storages: Mapping[str, bytes], specs: Sequence[StorageSpec]) -> bytes:
    """Storages in the specs' order; consecutive ones with elements of one size share byte planes."""
    parts = []
    for size, run in groupby(specs, key=_stored_size):
        parts.append(split_planes(b"".join(_as_stored(storages[s.path], s) for s in run), size))
    return b"".join(parts)


def decode_storages(data: Buffer, specs: Sequence[StorageSpec]) -> Dict[str, Buffer]:
    """The inverse of `encode_storages`; half-precision storages become single-precision. Raises `BundleError`.

    The results are views where no conversion is needed.
    """
    if len(data) != sum(s.stored_bytes for s in specs):
        raise BundleError(f"{len(data)} bytes of tensors where the tables say {sum(s.stored_bytes for s in specs)}")
    found: Dict[str, Buffer] = {}
    start = 0
    for size, group in groupby(specs, key=_stored_size):
        run = list(group)
        length = sum(s.stored_bytes for s in run)
        joined = memoryview(join_planes(memoryview(data)[start : start + length], size))
        start += length
        offset = 0
        for spec in run:
            if spec.path in found:
                raise BundleError(f"storage {spec.path} appears twice")
            found[spec.path] = _as_used(joined[offset : offset + spec.stored_bytes], spec)
            offset += spec.stored_bytes
    return found


def _stored_size(spec: StorageSpec) -> int:
    return DTYPES[spec.stored]


def _as_stored(data: bytes, spec: StorageSpec) -> bytes:
    if spec.stored == spec.dtype:
        return data
    return tensor_to_bytes(_view(data, torch.float32).half())


def _as_used(data: Buffer, spec: StorageSpec) -> Buffer:
    if spec.stored == spec.dtype:
        return data
    return tensor_to_bytes(_view(data, torch.float16).float())


def _view(data: Buffer, dtype: torch.dtype) -> Tensor:
    if not data:
        return torch.empty(0, dtype=dtype)
    return torch.frombuffer(bytearray(data), dtype=dtype)


def tensor_to_bytes(value: Tensor) -> bytes:
    """A tensor's elements in row-major order, in the machine's byte order (little-endian on all we run on)."""
    value = value.detach().cpu().contiguous()
    return ctypes.string_at(value.data_ptr(), value.numel() * value.element_size()) if value.numel() else b""


def tensor_from_bytes(data: Buffer, shape: Tuple[int, ...], dtype: str) -> Tensor:
    """The inverse of `tensor_to_bytes`. Raises `BundleError` where the bytes do not fill the shape."""
    spec = TensorSpec("tensor", tuple(shape), dtype)
    if len(data) != spec.bytes:
        raise BundleError(f"{len(data)} bytes cannot be a {dtype} tensor of shape {tuple(shape)}")
    kind: torch.dtype = getattr(torch, dtype)
    return _view(data, kind).reshape(tuple(shape))
