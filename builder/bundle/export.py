"""Segments as TorchScript archives, split into program and tensors.

Segments are exported traced, folded, unoptimised (which optimisation is faster differs from device to device) and
without source paths, so that equal networks give equal bytes.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn as nn
from torch import Tensor

from legodnn.builder.graph.identity import tensor_bytes
from legodnn.builder.graph.stored import fits_half
from legodnn.builder.graph.torchscript import load, save, trace
from legodnn.shared.bundle.archive import join_archive, split_archive
from legodnn.shared.bundle.manifest import StorageSpec
from legodnn.shared.errors import ModelError, is_shortage, one_line

_BUILDS_WITH = (2, 1)
"""The oldest torch the builder runs with; archives are joined for it here, so that any can load them."""


@dataclass(frozen=True)
class Exported:
    """A split archive: files of the program by path, raw storages by path, and what each storage holds."""

    program: dict[str, bytes]
    storages: dict[str, bytes]
    specs: tuple[StorageSpec, ...]


_traced_kinds: set[type] = set()


def _archive(module: nn.Module, inputs: tuple[Tensor, ...]) -> bytes:
    kinds = {type(m) for m in module.modules()}
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        # Tracing is deprecated in recent torch, but its archives are the only ones that old devices read.
        warnings.simplefilter("ignore")
        if not kinds <= _traced_kinds:
            # The first trace of a class in a process names its type without a number, all later ones with one. Names
            # must not depend on what was traced before, so the first does not count.
            trace(module, inputs, check_trace=False)
            _traced_kinds.update(kinds)
        save(trace(module, inputs, check_trace=False), buffer)
    return buffer.getvalue()


def _printed_again(archive: bytes) -> bytes:
    """The archive loaded with the class names of bundles and saved again: TorchScript's printer breaks lines by the
    names' lengths, which depend on the classes' source paths."""
    joined = join_archive(*split_archive(archive), _BUILDS_WITH)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        save(load(io.BytesIO(joined)), buffer)
    return buffer.getvalue()


def export(module: nn.Module, inputs: Sequence[Tensor], precision: str) -> Exported:
    """Trace a prepared segment on example inputs. Raises `ModelError` where TorchScript cannot hold it."""
    try:
        archive = _archive(module, tuple(x.cpu() for x in inputs))
    except Exception as error:
        if is_shortage(error):
            raise
        raise ModelError(f"a segment cannot be written as TorchScript: {one_line(error)}") from error
    program, storages = split_archive(_printed_again(archive))
    known = {tensor_bytes(t): t for t in [*module.parameters(), *module.buffers()]}
    specs = []
    for path, data in storages.items():
        value = known.get(data)
        if value is None:  # a constant of the program, stored as bytes
            specs.append(StorageSpec(path=path, dtype="uint8", count=len(data), stored="uint8"))
            continue
        dtype = str(value.dtype).removeprefix("torch.")
        half = precision == "fp16" and fits_half(value)
        specs.append(StorageSpec(path=path, dtype=dtype, count=value.numel(), stored="float16" if half else dtype))
    return Exported(program, storages, tuple(specs))
